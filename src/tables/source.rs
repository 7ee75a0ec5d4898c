//! Bytes of a table: what its beginning tells, and lines of bounded length.

use std::io::{self, BufRead, BufReader, Cursor, Read};

const BUFFER_BYTES: usize = 64 * 1024;
const UTF8_BOM: &[u8] = b"\xEF\xBB\xBF";

/// One line, read without its line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// The line stands in the buffer.
    Whole,
    /// The line is longer than the limit and was passed over.
    TooLong,
    /// There are no more lines.
    End,
}

type HeadAndRest = io::Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>;

/// A stream of bytes that knows how far it was read and on which line.
pub(super) struct Source {
    bytes: BufReader<HeadAndRest>,
    head: Vec<u8>,
    bom: bool,
    position: u64,
    line: u64,
}

impl Source {
    /// Reads the first line, or the first 64 KiB if it is longer, so that [`Source::head`] can be looked at.
    pub fn new(reader: Box<dyn Read + Send>) -> io::Result<Self> {
        Self::behind(reader, FirstLine::default())
    }

    /// The same for a table in which line breaks between quotes (") do not end a line.
    pub fn quoted(reader: Box<dyn Read + Send>) -> io::Result<Self> {
        Self::behind(reader, FirstLine { knows_quotes: true, ..FirstLine::default() })
    }

    fn behind(mut reader: Box<dyn Read + Send>, mut line: FirstLine) -> io::Result<Self> {
        let mut head = Vec::new();
        let mut chunk = vec![0_u8; BUFFER_BYTES];
        // A blank first line tells nothing, so it is read over; one line is enough, as a pipe may be slow to give more.
        while head.len() < BUFFER_BYTES {
            match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    let part = chunk.get(..count).unwrap_or_default();
                    head.extend_from_slice(part);
                    if line.ends_in(part) {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let bom = head.starts_with(UTF8_BOM);
        let mut position = 0;
        if bom {
            head.drain(..UTF8_BOM.len());
            position = UTF8_BOM.len() as u64;
        }
        let bytes = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head.clone()).chain(reader));
        Ok(Self { bytes, head, bom, position, line: 1 })
    }

    /// The first bytes, without a byte order mark.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// True if the table begins with a UTF-8 byte order mark.
    pub fn has_bom(&self) -> bool {
        self.bom
    }

    /// True if the table begins with a UTF-16 byte order mark.
    pub fn is_utf16(&self) -> bool {
        self.head.starts_with(b"\xFF\xFE") || self.head.starts_with(b"\xFE\xFF")
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The line that the next byte stands on, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Bytes that can be looked at now; empty at the end.
    pub fn fill(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.bytes.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.bytes.buffer())
    }

    /// Passes over `count` of the bytes that [`Source::fill`] showed.
    pub fn consume(&mut self, count: usize) {
        let passed = self.bytes.buffer().get(..count).unwrap_or_default();
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.position += count as u64;
        self.bytes.consume(count);
    }

    /// Reads the next line into `line` without its line break, at most `limit` bytes of it.
    pub fn read_line(&mut self, line: &mut Vec<u8>, limit: usize) -> io::Result<Line> {
        line.clear();
        let mut too_long = false;
        let mut begun = false;
        loop {
            let bytes = self.fill()?;
            if bytes.is_empty() {
                if !begun {
                    return Ok(Line::End);
                }
                break;
            }
            begun = true;
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            // One byte above the limit may be the carriage return of the line break.
            too_long |= line.len() + part.len() > limit + 1;
            if !too_long {
                line.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.consume(consumed);
            if end.is_some() {
                break;
            }
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if too_long || line.len() > limit {
            line.clear();
            return Ok(Line::TooLong);
        }
        Ok(Line::Whole)
    }
}

/// Looks for the end of the first line that is not blank, in bytes that come piece by piece.
#[derive(Default)]
struct FirstLine {
    knows_quotes: bool,
    is_in_quotes: bool,
    is_begun: bool,
    position: usize,
}

impl FirstLine {
    fn ends_in(&mut self, part: &[u8]) -> bool {
        for byte in part {
            let is_mark = UTF8_BOM.get(self.position) == Some(byte);
            self.position += 1;
            match byte {
                b'\n' if self.is_begun && !self.is_in_quotes => return true,
                byte if is_mark || byte.is_ascii_whitespace() => {}
                byte => {
                    self.is_begun = true;
                    self.is_in_quotes ^= self.knows_quotes && *byte == b'"';
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_counted() {
        let data = b"one\r\n\n0123456789\n012345678\r\n01234567890\nlast";
        let mut source = Source::new(Box::new(Cursor::new(data.to_vec()))).unwrap();
        let mut line = Vec::new();
        let mut seen = Vec::new();
        loop {
            let number = source.line();
            let read = source.read_line(&mut line, 10).unwrap();
            if read == Line::End {
                break;
            }
            seen.push((number, read, String::from_utf8(line.clone()).unwrap()));
        }
        let expected = [
            (1, Line::Whole, "one"),
            (2, Line::Whole, ""),
            (3, Line::Whole, "0123456789"),
            (4, Line::Whole, "012345678"),
            (5, Line::TooLong, ""),
            (6, Line::Whole, "last"),
        ];
        assert_eq!(seen, expected.map(|(number, read, text)| (number, read, text.to_owned())));
        assert_eq!(source.position(), data.len() as u64);
    }

    #[test]
    fn the_first_line_is_whole_in_whatever_pieces_it_comes() {
        struct Slow(Cursor<Vec<u8>>);
        impl Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer.get_mut(..1).unwrap_or_default())
            }
        }
        for (table, quoted, expected) in [
            ("\u{feff} \n\r\na;b\nc", true, " \n\r\na;b\n"),
            ("\"a\nb\";\"c\"\"\n\"\nd", true, "\"a\nb\";\"c\"\"\n\"\n"),
            ("5\" pipe\nd", false, "5\" pipe\n"),
            ("no end", true, "no end"),
        ] {
            let slow = Box::new(Slow(Cursor::new(table.as_bytes().to_vec())));
            let source = if quoted { Source::quoted(slow) } else { Source::new(slow) };
            assert_eq!(source.unwrap().head(), expected.as_bytes(), "{table:?}");
        }
    }

    #[test]
    fn a_line_over_the_limit_is_not_kept_in_memory() {
        let endless = io::repeat(b'x').take(50_000_000).chain(Cursor::new(b"\nnext".to_vec()));
        let mut source = Source::new(Box::new(endless)).unwrap();
        let mut line = Vec::new();
        assert_eq!(source.read_line(&mut line, 1_000_000).unwrap(), Line::TooLong);
        assert!(line.capacity() < 4_000_000, "{} bytes kept", line.capacity());
        assert_eq!(source.read_line(&mut line, 1_000_000).unwrap(), Line::Whole);
        assert_eq!(line, b"next");
    }
}
