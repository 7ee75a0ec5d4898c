//! What a value may be, and how it is read and written.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Consult, KeptTexts, LogFormat, LogLevel, Quantisation, Reach};
use crate::inference::{Kernel, LanguageModelKernel};

/// What is allowed as the value of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowed {
    /// A whole number, both ends included.
    Integer(u64, u64),
    /// A number, both ends included.
    Number(f32, f32),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// An IP address and a port, or empty for "not set".
    OptionalAddress,
    /// A path.
    Path,
    /// A path, or empty for "not set".
    OptionalPath,
    /// The address of a server, or empty for "not set".
    OptionalUrl,
    /// Addresses of NATS servers, parted by commas, or empty for "not set".
    OptionalQueueUrl,
    /// Letters, digits, `-`, `_` and `.`.
    Name,
    /// A name, or empty for "not set".
    OptionalName,
    /// A name of a model as other programs give them, or empty for "not set".
    OptionalModelName,
    /// Visible ASCII characters, or empty for "not set".
    OptionalText,
}

impl Allowed {
    /// True for values that a file writes without quotes.
    pub(super) fn is_numeric(&self) -> bool {
        matches!(self, Allowed::Integer(..) | Allowed::Number(..))
    }

    fn holds_integer(&self, number: u64) -> bool {
        matches!(self, Allowed::Integer(min, max) if (*min..=*max).contains(&number))
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowed::Integer(min, max) => write!(f, "a whole number from {min} to {max}"),
            Allowed::Number(min, max) => write!(f, "a number from {min} to {max}"),
            Allowed::OneOf(words) => write!(f, "one of: {}", words.join(", ")),
            Allowed::Address => f.write_str("an IP address and a port, as in 127.0.0.1:50051"),
            Allowed::OptionalAddress => {
                f.write_str("an IP address and a port, as in 127.0.0.1:9464, or empty for not set")
            }
            Allowed::Path => f.write_str("a path"),
            Allowed::OptionalPath => f.write_str("a path, or empty for not set"),
            Allowed::OptionalUrl => f.write_str("http:// or https:// with a host and a port, or empty for not set"),
            Allowed::OptionalQueueUrl => f.write_str(
                "nats:// or tls:// with a host and a port, several parted by commas, or empty for not set",
            ),
            Allowed::Name => f.write_str("a name of letters, digits, '-', '_' and '.'"),
            Allowed::OptionalModelName => f.write_str(
                "a name of letters, digits, '-', '_', '.', '/', ':', '@' and '+', at most 200 characters, or empty for not set",
            ),
            Allowed::OptionalText => {
                f.write_str("at most 200 visible ASCII characters without spaces, or empty for not set")
            }
            Allowed::OptionalName => f.write_str("a name of letters, digits, '-', '_' and '.', or empty for not set"),
        }
    }
}

/// The type of a setting.
pub(super) trait Value: Sized {
    /// Reads a value; `None` if it is not allowed.
    fn read(text: &str, allowed: &Allowed) -> Option<Self>;

    /// The value as it would be read.
    fn write(&self) -> String;
}

impl Value for u64 {
    fn read(text: &str, allowed: &Allowed) -> Option<Self> {
        text.parse().ok().filter(|number| allowed.holds_integer(*number))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for usize {
    fn read(text: &str, allowed: &Allowed) -> Option<Self> {
        u64::read(text, allowed).and_then(|number| number.try_into().ok())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for f32 {
    fn read(text: &str, allowed: &Allowed) -> Option<Self> {
        let Allowed::Number(min, max) = allowed else { return None };
        text.parse().ok().filter(|number| (min..=max).contains(&number))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for SocketAddr {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for Option<SocketAddr> {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
    }

    fn write(&self) -> String {
        self.map(|address| address.to_string()).unwrap_or_default()
    }
}

impl Value for PathBuf {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        (!text.is_empty()).then(|| PathBuf::from(text))
    }

    fn write(&self) -> String {
        self.display().to_string()
    }
}

impl Value for Option<PathBuf> {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        Some((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn write(&self) -> String {
        self.as_ref().map(Value::write).unwrap_or_default()
    }
}

impl Value for String {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        let named = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        (!text.is_empty() && text.chars().all(named)).then(|| text.to_owned())
    }

    fn write(&self) -> String {
        self.clone()
    }
}

impl Value for Option<String> {
    fn read(text: &str, allowed: &Allowed) -> Option<Self> {
        if text.is_empty() {
            return Some(None);
        }
        if *allowed == Allowed::OptionalName {
            return String::read(text, &Allowed::Name).map(Some);
        }
        if *allowed == Allowed::OptionalModelName {
            let named = |character: char| character.is_ascii_alphanumeric() || "-_./:@+".contains(character);
            return (text.len() <= 200 && text.chars().all(named)).then(|| Some(text.to_owned()));
        }
        if *allowed == Allowed::OptionalText {
            let is_text = text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_graphic());
            return is_text.then(|| Some(text.to_owned()));
        }
        let begins = |text: &str, schemes: [&str; 2]| {
            schemes.iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
        };
        let is_address = match allowed {
            Allowed::OptionalQueueUrl => text.split(',').all(|one| begins(one.trim(), ["nats://", "tls://"])),
            _ => begins(text, ["http://", "https://"]),
        };
        is_address.then(|| Some(text.to_owned()))
    }

    fn write(&self) -> String {
        self.clone().unwrap_or_default()
    }
}

impl Value for Quantisation {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for Reach {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for LogFormat {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for KeptTexts {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for Consult {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for Kernel {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for LanguageModelKernel {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for LogLevel {
    fn read(text: &str, _: &Allowed) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}
