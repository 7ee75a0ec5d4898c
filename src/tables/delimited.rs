//! Records of delimiter-separated values, of bounded size.
//!
//! The grammar is that of the `csv` crate; it is driven here by hand because that crate's own reader neither bounds a record
//! nor tells that a quote was left open at the end of the table.

use std::io;

use csv_core::ReadRecordResult;

use super::source::Source;

/// The most fields that a record may have; a record of more is counted on but not kept.
pub(super) const MAX_FIELDS: usize = 65_536;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    /// The record stands in the buffer.
    Whole,
    /// The record is larger than the limit and was passed over.
    TooLong,
    /// The table ended inside a quoted field.
    UnclosedQuote,
    /// There are no more records.
    End,
}

/// Reads records one after another into one buffer.
pub(super) struct Records {
    core: csv_core::Reader,
    data: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
}

impl Records {
    /// Records whose fields are told apart by `delimiter`.
    pub fn new(delimiter: u8) -> Self {
        let core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        Self { core, data: vec![0; 4096], ends: vec![0; 64], fields: 0 }
    }

    /// Number of fields of the last record.
    pub fn count(&self) -> usize {
        self.fields
    }

    /// Fields of the last record; none past [`MAX_FIELDS`].
    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().take(self.fields).map(move |&end| {
            let field = self.data.get(start..end).unwrap_or_default();
            start = end;
            field
        })
    }

    /// Passes over blank lines, so that the source's line is the one that the next record begins on.
    pub fn skip_blank_lines(&mut self, source: &mut Source) -> io::Result<()> {
        loop {
            let bytes = source.fill()?;
            let blank = bytes.iter().take_while(|&&byte| byte == b'\n' || byte == b'\r').count();
            if blank == 0 {
                return Ok(());
            }
            source.consume(blank);
        }
    }

    /// Reads the next record; one of more than `limit` bytes, counted without quotes and delimiters, is too long.
    pub fn read(&mut self, source: &mut Source, limit: usize) -> io::Result<Record> {
        let mut filled = 0;
        let mut too_long = false;
        // At the end of the table one line break more is read: it ends an open record, but not an open quote.
        let mut final_break_read = false;
        self.fields = 0;
        loop {
            let bytes = source.fill()?;
            let at_end = bytes.is_empty();
            let input: &[u8] = match (at_end, final_break_read) {
                (false, _) => bytes,
                (true, false) => b"\n",
                (true, true) => b"",
            };
            let free_data = self.data.get_mut(filled..).unwrap_or_default();
            let free_ends = self.ends.get_mut(self.fields.min(MAX_FIELDS)..).unwrap_or_default();
            let mut overflow_end = [0];
            let free_ends = if self.fields >= MAX_FIELDS { overflow_end.as_mut_slice() } else { free_ends };
            let (result, read, wrote, ended) = self.core.read_record(input, free_data, free_ends);
            filled += wrote;
            self.fields += ended;
            if at_end {
                final_break_read |= read > 0;
            } else {
                source.consume(read);
            }
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.data.len() <= limit => {
                    let larger = (self.data.len() * 2).min(limit + 1);
                    self.data.resize(larger, 0);
                }
                ReadRecordResult::OutputFull => {
                    too_long = true;
                    filled = 0;
                }
                ReadRecordResult::OutputEndsFull => {
                    let larger = (self.ends.len() * 2).min(MAX_FIELDS);
                    self.ends.resize(larger, 0);
                }
                ReadRecordResult::Record if too_long || filled > limit => return Ok(Record::TooLong),
                ReadRecordResult::Record if at_end && final_break_read && read == 0 => {
                    return Ok(Record::UnclosedQuote);
                }
                ReadRecordResult::Record => return Ok(Record::Whole),
                ReadRecordResult::End => return Ok(Record::End),
            }
        }
    }
}

/// The delimiter of a table by its first line: the most frequent of comma, semicolon and tab outside quotes.
pub(super) fn sniff_delimiter(head: &[u8]) -> u8 {
    let mut counts = [(b',', 0_usize), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for &byte in head.trim_ascii_start() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            _ if !quoted => counts.iter_mut().filter(|(delimiter, _)| *delimiter == byte).for_each(|(_, n)| *n += 1),
            _ => {}
        }
    }
    // On a tie the first stands, so a table of one column has commas.
    let most = counts.iter().map(|&(_, count)| count).max().unwrap_or_default();
    counts.iter().find(|&&(_, count)| count == most).map_or(b',', |&(delimiter, _)| delimiter)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn records(text: &str, limit: usize) -> Vec<(u64, Record, Vec<String>)> {
        let mut source = Source::new(Box::new(Cursor::new(text.as_bytes().to_vec()))).unwrap();
        let mut records = Records::new(b',');
        let mut all = Vec::new();
        loop {
            records.skip_blank_lines(&mut source).unwrap();
            let line = source.line();
            match records.read(&mut source, limit).unwrap() {
                Record::End => return all,
                Record::Whole => {
                    let fields = records.fields().map(|field| String::from_utf8(field.to_vec()).unwrap()).collect();
                    all.push((line, Record::Whole, fields));
                }
                bad => all.push((line, bad, Vec::new())),
            }
        }
    }

    fn whole(line: u64, fields: &[&str]) -> (u64, Record, Vec<String>) {
        (line, Record::Whole, fields.iter().map(|&field| field.to_owned()).collect())
    }

    #[test]
    fn quotes_line_breaks_and_blank_lines() {
        let read = records("\n\r\na,b\r\n\"x\ny\",\"he said \"\"no\"\"\"\r\n\n5\" pipe,\"\"\nend,", 100);
        let expected = [
            whole(3, &["a", "b"]),
            whole(4, &["x\ny", "he said \"no\""]),
            whole(7, &["5\" pipe", ""]),
            whole(8, &["end", ""]),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn an_open_quote_at_the_end_is_told_and_a_literal_one_is_not() {
        assert_eq!(records("a,b\n1,\"open\nand,on", 100), [whole(1, &["a", "b"]), (2, Record::UnclosedQuote, vec![])]);
        assert_eq!(records("a,b\n1,5\"", 100), [whole(1, &["a", "b"]), whole(2, &["1", "5\""])]);
        assert_eq!(records("a,b\n1,\"closed\"", 100), [whole(1, &["a", "b"]), whole(2, &["1", "closed"])]);
    }

    #[test]
    fn too_long_records_are_passed_over_and_reading_goes_on() {
        let text =
            format!("a,b\n{},1\nc,d\n\"{}\",2\ne,{}\n", "x".repeat(60_000), "y\n".repeat(6_000), "z".repeat(9_999));
        let read = records(&text, 10_000);
        let last = "z".repeat(9_999);
        let expected = [
            whole(1, &["a", "b"]),
            (2, Record::TooLong, vec![]),
            whole(3, &["c", "d"]),
            (4, Record::TooLong, vec![]),
            whole(6005, &["e", &last]),
        ];
        assert!(read == expected, "{:?}", read.iter().map(|(line, record, _)| (line, record)).collect::<Vec<_>>());
    }

    #[test]
    fn a_record_of_too_many_fields_is_counted_but_not_kept() {
        let mut source = Source::new(Box::new(Cursor::new(",".repeat(200_000).into_bytes()))).unwrap();
        let mut records = Records::new(b',');
        assert_eq!(records.read(&mut source, 100).unwrap(), Record::Whole);
        assert_eq!(records.count(), 200_001);
        assert_eq!(records.fields().count(), MAX_FIELDS);
    }

    #[test]
    fn delimiters_are_sniffed_outside_quotes() {
        for (head, expected) in [
            ("id,text\n1;2;3;4", b','),
            ("\"a,b,c,d\";\"e\";f\n", b';'),
            ("\n a\tb,c\td\n", b'\t'),
            ("text\n", b','),
            ("", b','),
        ] {
            assert_eq!(sniff_delimiter(head.as_bytes()), expected, "{head:?}");
        }
    }
}
