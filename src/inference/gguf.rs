//! GGUF files from anywhere: looked through before anything is made of them.
//!
//! Enters: a file. Leaves: its named values and what its tensors are, each of which lies within the file; or what is wrong. What a
//! file only says it has takes no memory. Never here: what values mean, weights.
//!
//! Candle reads the header itself, once it was found sound: it takes 32 bytes for a number of one byte, and divides by an alignment
//! that may be 0. The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, TensorInfo};

use super::InferenceError;

/// Most bytes of a header: of all values, and of what is said of tensors.
const MAX_HEADER_BYTES: u64 = 256 << 20;

/// Most values, each entry of a list counted.
const MAX_VALUES: u64 = 8 << 20;

/// Most tensors.
const MAX_TENSORS: u64 = 1 << 16;

/// Most bytes of the name of a value or a tensor.
const MAX_NAME_BYTES: u64 = (1 << 16) - 1;

/// Most dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;

/// Lists in lists nest no deeper.
const MAX_DEPTH: usize = 8;

/// The value that says at which multiples tensors begin.
const ALIGNMENT: &str = "general.alignment";

/// Opens a file and reads its header.
///
/// # Errors
/// [`InferenceError::Read`] or [`InferenceError::Format`] with what is wrong.
pub(super) fn open(path: &Path) -> Result<(Content, BufReader<File>), InferenceError> {
    let file = File::open(path).map_err(|source| InferenceError::Read { path: path.to_owned(), source })?;
    let mut file = BufReader::new(file);
    let content = read(&mut file).map_err(|problem| InferenceError::Format {
        path: path.to_owned(),
        problem: format!("not a readable GGUF file: {problem}"),
    })?;
    Ok((content, file))
}

/// Reads the header of a file that stands at its beginning.
pub(super) fn read<R: Read + Seek>(reader: &mut R) -> Result<Content, String> {
    let unreadable = |error: std::io::Error| error.to_string();
    let length = reader.seek(SeekFrom::End(0)).map_err(unreadable)?;
    reader.rewind().map_err(unreadable)?;
    Header { reader, position: 0, values: 0, is_wide: true }.check()?;
    reader.rewind().map_err(unreadable)?;
    let content = Content::read(reader).map_err(|error| error.to_string())?;
    for (name, info) in &content.tensor_infos {
        check_tensor(name, info, content.tensor_data_offset, length)?;
    }
    Ok(content)
}

/// A tensor has numbers, and all of them lie in the file.
fn check_tensor(name: &str, info: &TensorInfo, data: u64, length: u64) -> Result<(), String> {
    let (dims, block) = (info.shape.dims(), info.ggml_dtype.block_size().max(1));
    let numbers = dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
    let numbers = numbers.filter(|numbers| *numbers > 0 && numbers.is_multiple_of(block));
    let Some(numbers) = numbers else {
        let allowed = format!("1 and more numbers, a multiple of {block}, in 64 bits");
        return Err(format!("tensor {name} has shape {dims:?}; allowed: {allowed}"));
    };
    let bytes = (numbers / block).checked_mul(info.ggml_dtype.type_size()).and_then(|bytes| u64::try_from(bytes).ok());
    let end = bytes.and_then(|bytes| data.checked_add(info.offset)?.checked_add(bytes));
    match end {
        Some(end) if end <= length => Ok(()),
        _ => Err(format!("tensor {name} of shape {dims:?} goes beyond the end of the file, {length} bytes")),
    }
}

/// A header on the way of being looked through.
struct Header<'r, R> {
    reader: &'r mut R,
    position: u64,
    values: u64,
    /// Whether lengths have 64 bits; those of the first version have 32.
    is_wide: bool,
}

impl<R: Read> Header<'_, R> {
    fn check(mut self) -> Result<(), String> {
        if self.take::<4>()? != *b"GGUF" {
            return Err("it does not begin with GGUF".to_owned());
        }
        let version = self.number()?;
        if !(1..=3).contains(&version) {
            return Err(format!("version {version} is not known; allowed: 1 to 3"));
        }
        self.is_wide = version > 1;
        let (tensors, values) = (self.length()?, self.length()?);
        if tensors > MAX_TENSORS {
            return Err(format!("it says that it has {tensors} tensors; at most {MAX_TENSORS} are allowed"));
        }
        self.count(values)?;
        for _ in 0..values {
            self.value()?;
        }
        for _ in 0..tensors {
            self.name("a tensor")?;
            let dimensions = self.number()?;
            if dimensions > MAX_DIMENSIONS {
                return Err(format!("a tensor has {dimensions} dimensions; at most {MAX_DIMENSIONS} are allowed"));
            }
            let of_dimension = if self.is_wide { 8 } else { 4 };
            // Behind the dimensions stand the kind of the numbers and their place.
            self.skip(u64::from(dimensions) * of_dimension + 4 + 8)?;
        }
        Ok(())
    }

    /// One named value.
    fn value(&mut self) -> Result<(), String> {
        let name = self.name("a value")?;
        let kind = self.number()?;
        let Some(size) = size_of_kind(kind).filter(|_| name == ALIGNMENT.as_bytes()) else {
            return self.content(kind, 0);
        };
        let mut number = [0; 8];
        self.fill(number.get_mut(..size as usize).unwrap_or_default())?;
        if number == [0; 8] { Err(format!("{ALIGNMENT} is 0; allowed: 1 and more")) } else { Ok(()) }
    }

    /// Passes over what a value says.
    fn content(&mut self, kind: u32, depth: usize) -> Result<(), String> {
        match (kind, size_of_kind(kind)) {
            (_, Some(size)) => self.skip(size),
            (TEXT, _) => {
                let length = self.length()?;
                self.skip(length)
            }
            (LIST, _) if depth >= MAX_DEPTH => Err(format!("lists in lists nest deeper than {MAX_DEPTH} levels")),
            (LIST, _) => {
                let (kind, entries) = (self.number()?, self.length()?);
                self.count(entries)?;
                match size_of_kind(kind) {
                    Some(size) => self.skip(entries * size),
                    None => (0..entries).try_for_each(|_| self.content(kind, depth + 1)),
                }
            }
            (other, _) => Err(format!("values of kind {other} are not known; allowed: 0 to 12")),
        }
    }

    /// Counts values before any of them is read.
    fn count(&mut self, values: u64) -> Result<(), String> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            return Err(format!("it says that it has {} values; at most {MAX_VALUES} are allowed", self.values));
        }
        Ok(())
    }

    fn name(&mut self, what: &str) -> Result<Vec<u8>, String> {
        let length = self.length()?;
        if length > MAX_NAME_BYTES {
            return Err(format!("the name of {what} has {length} bytes; at most {MAX_NAME_BYTES} are allowed"));
        }
        let mut name = vec![0; length as usize];
        self.fill(&mut name)?;
        Ok(name)
    }

    fn length(&mut self) -> Result<u64, String> {
        if self.is_wide { self.take().map(u64::from_le_bytes) } else { self.number().map(u64::from) }
    }

    fn number(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_le_bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        self.advance(bytes.len() as u64)?;
        self.reader.read_exact(bytes).map_err(|_| CUT.to_owned())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        self.advance(bytes)?;
        let passed = std::io::copy(&mut self.reader.by_ref().take(bytes), &mut std::io::sink());
        if passed.is_ok_and(|passed| passed == bytes) { Ok(()) } else { Err(CUT.to_owned()) }
    }

    fn advance(&mut self, bytes: u64) -> Result<(), String> {
        self.position = self.position.saturating_add(bytes);
        if self.position > MAX_HEADER_BYTES {
            let most = MAX_HEADER_BYTES >> 20;
            return Err(format!("its header has more than {most} MiB, the most allowed"));
        }
        Ok(())
    }
}

/// Kinds of values whose size their content says.
const TEXT: u32 = 8;
const LIST: u32 = 9;

/// What is said of a file that was cut short.
const CUT: &str = "it ends within its header";

/// Bytes of a value that is one number or truth value.
fn size_of_kind(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A header of the third version with these values and tensors, and so many bytes of numbers.
    fn file(values: &[Vec<u8>], tensors: &[Vec<u8>], numbers: usize) -> Vec<u8> {
        let counts = [tensors.len() as u64, values.len() as u64].map(u64::to_le_bytes).concat();
        let mut file =
            [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &counts, &values.concat(), &tensors.concat()].concat();
        file.resize(file.len().next_multiple_of(32) + numbers, 0);
        file
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn value(name: &str, kind: u32, content: &[u8]) -> Vec<u8> {
        [text(name), kind.to_le_bytes().to_vec(), content.to_vec()].concat()
    }

    fn list(kind: u32, entries: u64, content: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes(), entries.to_le_bytes().as_slice(), content].concat()
    }

    fn tensor(name: &str, dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
        let dims: Vec<u8> = (dims.len() as u32)
            .to_le_bytes()
            .into_iter()
            .chain(dims.iter().flat_map(|dim| dim.to_le_bytes()))
            .collect();
        [text(name), dims, kind.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat()
    }

    fn problem(file: &[u8]) -> Option<String> {
        read(&mut Cursor::new(file)).err()
    }

    #[test]
    fn a_sound_header_is_read_whole() {
        let nested = list(LIST, 2, &[list(0, 3, &[1, 2, 3]), list(TEXT, 1, &text("x"))].concat());
        let values =
            [value("a", TEXT, &text("b")), value("c", LIST, &nested), value(ALIGNMENT, 4, &32_u32.to_le_bytes())];
        let content = read(&mut Cursor::new(file(&values, &[tensor("t", &[4, 2], 0, 0)], 32))).unwrap();
        assert_eq!((content.metadata.len(), content.tensor_infos["t"].shape.dims()), (3, [2, 4].as_slice()));
    }

    #[test]
    fn what_a_header_only_says_is_refused_before_it_is_made() {
        let huge = u64::MAX.to_le_bytes();
        let counts = |tensors: u64, values: u64| {
            [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &tensors.to_le_bytes(), &values.to_le_bytes()].concat()
        };
        let of_value = |value: Vec<u8>| file(&[value], &[], 0);
        let of_tensor = |dims: &[u64], kind: u32, offset: u64| file(&[], &[tensor("t", dims, kind, offset)], 64);
        let deep = (0..9).fold(list(0, 1, &[1]), |inner, _| list(LIST, 1, &inner));
        for (file, part) in [
            (b"FUGG".to_vec(), "does not begin with GGUF"),
            (b"GG".to_vec(), "ends within its header"),
            ([b"GGUF".as_slice(), &9_u32.to_le_bytes()].concat(), "version 9"),
            (counts(3_000_000_000, 0), "3000000000 tensors"),
            (counts(0, 3_000_000_000), "3000000000 values"),
            (counts(5, 0), "ends within its header"),
            (of_value(huge.to_vec()), "the name of a value"),
            (of_value(value("a", TEXT, &huge)), "more than 256 MiB"),
            (of_value(value("a", TEXT, &1_000_u64.to_le_bytes())), "ends within its header"),
            (of_value(value("a", LIST, &list(0, u64::MAX, &[]))), "values; at most"),
            (of_value(value("a", LIST, &list(10, MAX_VALUES / 2, &[]))), "ends within its header"),
            (of_value(value("a", LIST, &deep)), "nest deeper"),
            (of_value(value("a", 13, &[])), "kind 13"),
            (of_value(value(ALIGNMENT, 4, &[0; 4])), "general.alignment is 0"),
            (of_value(value(ALIGNMENT, 0, &[0])), "general.alignment is 0"),
            (of_tensor(&[1, 1, 1, 1, 1], 0, 0), "5 dimensions"),
            (of_tensor(&[1 << 32, 1 << 33], 0, 0), "allowed: 1 and more numbers"),
            (of_tensor(&[0, 1 << 60], 0, 0), "allowed: 1 and more numbers"),
            (of_tensor(&[31], 2, 0), "a multiple of 32"),
            (of_tensor(&[17], 0, 0), "beyond the end"),
            (of_tensor(&[1 << 62], 0, 0), "beyond the end"),
            (of_tensor(&[1], 0, u64::MAX), "beyond the end"),
        ] {
            let problem = problem(&file).unwrap();
            assert!(problem.contains(part), "{problem} should contain {part}");
        }
    }
}
