//! A reader of `metrics.jsonl` that goes on where it has ended, while a run writes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use stagger_data::foreign;

use crate::error::ReportError;
use crate::metrics::Record;
use crate::metrics_reader::{MAX_BYTES, MAX_LINE_BYTES, read_line};

/// Most bytes that one look reads; a line is no longer.
const MOST_BYTES: u64 = 4 * MAX_LINE_BYTES;
/// Bytes before the place where reading ended by which the file is known again: a line of a batch has some 150, and no two runs have
/// the same times in them.
const KNOWN_BY: usize = 4096;

/// Reads the records of a metrics file as they come. A look reads what is new since the one before. When a run is resumed, or goes back to a
/// snapshot, its file is written anew: where what was read last is no longer there, reading begins again.
#[derive(Debug)]
pub struct MetricsFollower {
    path: PathBuf,
    /// Where the next line begins.
    place: u64,
    /// Its number, from 1.
    line: usize,
    /// The bytes before that place, at most [`KNOWN_BY`].
    before: Vec<u8>,
}

/// What a look at a metrics file has shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Whether the file is another than before, and its records come from the first one on.
    pub begins_again: bool,
    /// The records that are new, in their order.
    pub records: Vec<Record>,
    /// Whether there is more to read.
    pub has_more: bool,
    /// Number of the first line that is no record, and what is wrong with it. Reading stops before it, and the next look tries
    /// it again. A last line without an end is none: it is being written.
    pub fault: Option<(usize, String)>,
    /// When the file was last written to, as far as the system says.
    pub modified: Option<SystemTime>,
}

impl MetricsFollower {
    /// Follows a file, from its first line on. Nothing is opened yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            place: 0,
            line: 1,
            before: Vec::new(),
        }
    }

    /// Reads what is new. Never waits for the run, and leaves the file as it is.
    ///
    /// # Errors
    /// [`ReportError::Io`] when the file cannot be read, as when it is not there, leads out of its folder or is no regular file. The next
    /// look may succeed: a run that goes on replaces the file.
    pub fn look(&mut self) -> Result<Look, ReportError> {
        let mut look = Look::default();
        let known = u64::try_from(self.before.len()).unwrap_or(0);
        let mut bytes = self.read(self.place - known, &mut look)?;
        if bytes.starts_with(&self.before) {
            bytes.drain(..self.before.len());
        } else {
            look.begins_again = true;
            *self = Self::new(&self.path);
            bytes = self.read(0, &mut look)?;
        }
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            match self.take(line) {
                Ok(record) => look.records.push(record),
                Err(what) => {
                    look.fault = Some((self.line, what));
                    look.has_more = false;
                    return Ok(look);
                }
            }
            rest = after;
        }
        if rest.len() as u64 > MAX_LINE_BYTES {
            let what = format!("the line is longer than {MAX_LINE_BYTES} bytes");
            look.fault = Some((self.line, what));
            look.has_more = false;
        }
        Ok(look)
    }

    /// The bytes from a place on, and whether there are more.
    fn read(&self, place: u64, look: &mut Look) -> Result<Vec<u8>, ReportError> {
        let unreadable = |source| ReportError::io("read", &self.path, source);
        let mut file = foreign::open_inside(&self.path, MAX_BYTES).map_err(unreadable)?;
        file.skip_to(place).map_err(unreadable)?;
        let mut bytes = Vec::new();
        let read = (&mut file).take(MOST_BYTES).read_to_end(&mut bytes);
        read.map_err(unreadable)?;
        look.has_more = bytes.len() as u64 == MOST_BYTES;
        look.modified = file.modified();
        Ok(bytes)
    }

    /// Takes a line with its end, which is then read.
    fn take(&mut self, line: &[u8]) -> Result<Record, String> {
        if line.len() as u64 > MAX_LINE_BYTES {
            return Err(format!("the line is longer than {MAX_LINE_BYTES} bytes"));
        }
        let record = read_line(line, self.line)?;
        self.line += 1;
        self.place += line.len() as u64;
        self.before.extend_from_slice(line);
        let surplus = self.before.len().saturating_sub(KNOWN_BY);
        self.before.drain(..surplus);
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const RUN: &str = "{\"kind\":\"run\",\"format_version\":1,\"facts\":{}}\n";

    fn skipped(batch: usize, seconds: f64) -> String {
        format!("{{\"kind\":\"skipped\",\"batch\":{batch},\"epoch\":1,\"seconds\":{seconds:?}}}\n")
    }

    fn batches(look: &Look) -> Vec<usize> {
        let batch = |record: &Record| match record {
            Record::Skipped(skipped) => Some(skipped.batch),
            _ => None,
        };
        look.records.iter().filter_map(batch).collect()
    }

    struct Written {
        folder: tempfile::TempDir,
    }

    impl Written {
        fn new(content: &str) -> (Self, MetricsFollower) {
            let written = Self {
                folder: tempfile::tempdir().unwrap(),
            };
            written.write(content);
            let follower = MetricsFollower::new(&written.path());
            (written, follower)
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("metrics.jsonl")
        }

        fn write(&self, content: &str) {
            fs::write(self.path(), content).unwrap();
        }
    }

    #[test]
    fn a_look_reads_what_is_new_and_waits_for_the_end_of_a_line() {
        let first = format!("{RUN}{}", skipped(0, 0.5));
        let (written, mut follower) = Written::new(&first);
        let look = follower.look().unwrap();
        assert_eq!((look.records.len(), look.begins_again), (2, false));
        assert_eq!(follower.look().unwrap().records, []);
        let whole = format!("{first}{}", skipped(1, 1.5));
        written.write(&whole[..whole.len() - 5]);
        let look = follower.look().unwrap();
        assert_eq!((look.records.len(), look.fault), (0, None));
        written.write(&whole);
        let look = follower.look().unwrap();
        assert_eq!((batches(&look), look.begins_again), (vec![1], false));
    }

    #[test]
    fn another_file_is_read_from_its_start() {
        let old = format!("{RUN}{}{}", skipped(0, 0.5), skipped(1, 1.0));
        let (written, mut follower) = Written::new(&old);
        follower.look().unwrap();
        // As long as the old one, and shorter: a resumed run has dropped its last line.
        let [a, b, c] = [skipped(0, 0.5), skipped(1, 2.0), skipped(2, 3.0)];
        for (new, begins_again) in [
            (format!("{RUN}{a}{b}{c}"), true),
            (format!("{RUN}{a}"), true),
            (String::new(), true),
            (format!("{RUN}{}", skipped(0, 0.25)), false),
        ] {
            written.write(&new);
            let look = follower.look().unwrap();
            assert_eq!(look.begins_again, begins_again, "{new}");
            assert_eq!(look.records.len(), new.lines().count());
        }
        // A run that goes on where it ended has the same lines.
        written.write(&format!("{RUN}{}{}", skipped(0, 0.25), skipped(1, 9.0)));
        let look = follower.look().unwrap();
        assert_eq!((batches(&look), look.begins_again), (vec![1], false));
    }

    #[test]
    fn a_line_that_is_no_record_is_said_and_tried_again() {
        let (written, mut follower) = Written::new(&format!("{RUN}{{}}\n{}", skipped(0, 0.5)));
        for _ in 0..2 {
            let look = follower.look().unwrap();
            let (line, what) = look.fault.unwrap();
            assert_eq!(line, 2);
            assert!(
                what.starts_with("no record: missing field `kind`"),
                "{what}"
            );
        }
        written.write(&format!("{RUN}{}", skipped(0, 0.5)));
        let look = follower.look().unwrap();
        assert_eq!((batches(&look), look.fault), (vec![0], None));
        written.write("{}\n");
        assert_eq!(follower.look().unwrap().fault.unwrap().0, 1);
    }

    #[test]
    fn lines_without_an_end_take_no_memory_without_an_end() {
        let (written, mut follower) = Written::new("");
        let file = fs::File::create(written.path()).unwrap();
        file.set_len(1 << 30).unwrap();
        let look = follower.look().unwrap();
        assert_eq!(
            look.fault,
            Some((1, "the line is longer than 1048576 bytes".to_owned()))
        );
        assert!(!look.has_more);
    }

    #[test]
    fn a_missing_file_may_come_back() {
        let (written, mut follower) = Written::new(RUN);
        follower.look().unwrap();
        fs::remove_file(written.path()).unwrap();
        let error = follower.look().unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
        written.write(RUN);
        let look = follower.look().unwrap();
        assert_eq!((look.records.len(), look.begins_again), (0, false));
    }

    proptest! {
        /// However the bytes come, each record is read once.
        #[test]
        fn every_record_is_read_once(count in 0..300_usize, cuts in prop::collection::vec(0.0..1.0_f64, 0..8)) {
            let lines: String = (0..count).map(|batch| skipped(batch, batch as f64 + 0.5)).collect();
            let whole = format!("{RUN}{lines}");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| (cut * whole.len() as f64) as usize).collect();
            cuts.sort_unstable();
            cuts.push(whole.len());
            let (written, mut follower) = Written::new("");
            let mut seen = Vec::new();
            for cut in cuts {
                written.write(&whole[..cut]);
                let look = follower.look().unwrap();
                prop_assert!(look.fault.is_none());
                seen.extend(batches(&look));
            }
            prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }
}
