//! The records of a CSV file, however broken it is. Never more than one is in memory, and of one that is too large nothing.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// How many bytes a record has at most.
const LARGEST: usize = 1_024 * 1_024;
/// How many cells it has at most.
const MOST_CELLS: usize = 2_048;
/// What files from spreadsheets begin with.
const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A record.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// On which line it begins.
    pub line: u64,
    /// What is in it, or why that cannot be read.
    pub cells: Result<Vec<String>, Unreadable>,
}

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is too large.
    #[error("is larger than 1 MiB, or has more than 2,048 cells: is a quote not closed?")]
    TooLarge,
    /// A cell is not text.
    #[error("is not UTF-8: save the file with that encoding")]
    NotUtf8 {
        /// Which, from 0.
        cell: usize,
    },
}

/// Reads records.
pub struct Records<R> {
    input: R,
    core: Reader,
    output: Vec<u8>,
    ends: Vec<usize>,
    /// The line that is read next.
    line: u64,
    /// The last byte was a carriage return: a line feed that follows ends the same line.
    is_returned: bool,
}

impl<R: BufRead> Records<R> {
    /// Reads from the beginning of a file; finds out by its first line what parts cells, unless that is said.
    pub fn open(mut input: R, delimiter: Option<u8>) -> io::Result<Self> {
        let start = input.fill_buf()?;
        if start.starts_with(b"\xFF\xFE") || start.starts_with(b"\xFE\xFF") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is UTF-16: save it as UTF-8"));
        }
        let mark = if start.starts_with(UTF8_MARK) { UTF8_MARK.len() } else { 0 };
        let delimiter = delimiter.unwrap_or_else(|| most_common_delimiter(&start[mark..]));
        input.consume(mark);
        let core = ReaderBuilder::new().delimiter(delimiter).build();
        Ok(Self { input, core, output: vec![0; 4_096], ends: vec![0; 64], line: 1, is_returned: false })
    }

    /// The next record that is not an empty line.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        self.skip_empty_lines()?;
        let line = self.line;
        let (mut filled, mut ended, mut is_too_large) = (0, 0, false);
        loop {
            let input = self.input.fill_buf()?;
            let (result, read, written, ends) =
                self.core.read_record(input, &mut self.output[filled..], &mut self.ends[ended..]);
            (self.line, self.is_returned) = count_lines(&input[..read], self.line, self.is_returned);
            self.input.consume(read);
            filled += written;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.output.len() < LARGEST => {
                    self.output.resize(self.output.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MOST_CELLS => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    (filled, ended, is_too_large) = (0, 0, true);
                }
                ReadRecordResult::Record if is_too_large => {
                    return Ok(Some(Record { line, cells: Err(Unreadable::TooLarge) }));
                }
                ReadRecordResult::Record => return Ok(Some(Record { line, cells: self.cells(ended) })),
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    fn cells(&self, ended: usize) -> Result<Vec<String>, Unreadable> {
        let ends = &self.ends[..ended];
        let starts = std::iter::once(&0).chain(ends);
        let text = |(cell, (start, end)): (usize, (&usize, &usize))| {
            let text = std::str::from_utf8(&self.output[*start..*end]).map_err(|_| Unreadable::NotUtf8 { cell })?;
            Ok(text.to_owned())
        };
        starts.zip(ends).enumerate().map(text).collect()
    }

    fn skip_empty_lines(&mut self) -> io::Result<()> {
        while let Some(&byte @ (b'\n' | b'\r')) = self.input.fill_buf()?.first() {
            (self.line, self.is_returned) = count_lines(&[byte], self.line, self.is_returned);
            self.input.consume(1);
        }
        Ok(())
    }
}

/// The line after these bytes, and whether a line feed would belong to the last.
fn count_lines(bytes: &[u8], mut line: u64, mut is_returned: bool) -> (u64, bool) {
    let mut next = 0;
    for place in memchr::memchr2_iter(b'\n', b'\r', bytes) {
        let belongs = bytes[place] == b'\n' && is_returned && place == next;
        line += u64::from(!belongs);
        (is_returned, next) = (bytes[place] == b'\r', place + 1);
    }
    (line, is_returned && next == bytes.len())
}

/// What parts the cells of a first line, quoted ones aside.
fn most_common_delimiter(start: &[u8]) -> u8 {
    let mut is_quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    for byte in start {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' | b'\r' if !is_quoted => break,
            byte if !is_quoted => {
                counts.iter_mut().filter(|(delimiter, _)| delimiter == byte).for_each(|(_, count)| *count += 1);
            }
            _ => {}
        }
    }
    // Of those that are as common the first.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| *delimiter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(file: &[u8]) -> Vec<(u64, Result<Vec<String>, Unreadable>)> {
        let mut records = Records::open(file, None).unwrap();
        std::iter::from_fn(|| records.next().unwrap()).map(|record| (record.line, record.cells)).collect()
    }

    fn texts(cells: &[&str]) -> Result<Vec<String>, Unreadable> {
        Ok(cells.iter().map(|&cell| cell.to_owned()).collect())
    }

    #[test]
    fn marks_line_ends_quotes_and_delimiters_are_understood() {
        let file =
            b"\xEF\xBB\xBFname;note\r\n\r\n\"Anna; B\";\"two\r\nlines, \"\"quoted\"\"\"\r\n\n\nJ\xC4\x81nis;last";
        let expected = vec![
            (1, texts(&["name", "note"])),
            (3, texts(&["Anna; B", "two\r\nlines, \"quoted\""])),
            (7, texts(&["Jānis", "last"])),
        ];
        assert_eq!(all(file), expected);
        assert_eq!(all(b"a\tb\n1,5\t2"), vec![(1, texts(&["a", "b"])), (2, texts(&["1,5", "2"]))]);
        assert_eq!(
            all(b"a\rb\r\rc\r\nd"),
            [(1, "a"), (2, "b"), (4, "c"), (5, "d")].map(|(line, cell)| (line, texts(&[cell])))
        );
        assert_eq!(all(b""), vec![]);
        assert_eq!(all(b"\n\r\n"), vec![]);
        assert!(Records::open(&b"\xFF\xFEa\0"[..], None).is_err());
    }

    #[test]
    fn what_cannot_be_read_costs_only_itself() {
        let mut file = b"a,b\nx\xFFy,1\n\"".to_vec();
        file.extend(vec![b'z'; 3 * LARGEST]);
        file.extend(b"\",2\nok,3\n");
        file.extend(vec![b','; 2 * MOST_CELLS]);
        file.extend(b"\nok,4\n\"open,5\nok,6\n");
        let unreadable = |wrong| Err(wrong);
        let expected = vec![
            (1, texts(&["a", "b"])),
            (2, unreadable(Unreadable::NotUtf8 { cell: 0 })),
            (3, unreadable(Unreadable::TooLarge)),
            (4, texts(&["ok", "3"])),
            (5, unreadable(Unreadable::TooLarge)),
            (6, texts(&["ok", "4"])),
            (7, texts(&["open,5\nok,6\n"])),
        ];
        assert_eq!(all(&file), expected);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(rows in proptest::collection::vec(proptest::collection::vec(".{0,9}|[\",;\r\n ]{0,5}", 2..4), 1..6)) {
            // At its beginning it is a byte order mark, which is no part of the text.
            prop_assume!(!rows[0][0].starts_with('\u{feff}'));
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            let file = writer.into_inner().unwrap();
            let mut records = Records::open(file.as_slice(), Some(b',')).unwrap();
            let read: Vec<_> = std::iter::from_fn(|| records.next().unwrap()).map(|record| record.cells.unwrap()).collect();
            prop_assert_eq!(read, rows);
        }

        #[test]
        fn nothing_breaks_it(file in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(mut records) = Records::open(file.as_slice(), None) {
                while records.next().unwrap().is_some() {}
            }
        }
    }
}
