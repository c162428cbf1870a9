//! Reader of `metrics.jsonl`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use stagger_data::foreign::{self, ForeignFile};
use stagger_data::shown_text;

use crate::error::ReportError;
use crate::metrics::{METRICS_FORMAT, Record};
use crate::run_folder::METRICS_FILE;

/// Longest line that is read; a record of a hundred stages is far shorter.
pub(crate) const MAX_LINE_BYTES: u64 = 1 << 20;
/// Largest file that is read: some twenty million batches.
pub(crate) const MAX_BYTES: u64 = 1 << 32;

/// How a sentence on a line begins that is no record at all.
const NO_RECORD: &str = "no record: ";

/// Reads all records of a metrics file. A run that is in progress, or that was killed, has no `end` record.
///
/// # Errors
/// [`ReportError::Io`] when the file cannot be read, [`ReportError::Metrics`] with the number of the first line that is no
/// record, is cut short, or may not be there.
pub fn read_metrics(path: &Path) -> Result<Vec<Record>, ReportError> {
    read_metrics_from(open(path)?, path)
}

/// Reads all records from `reader`. `path` is named in errors.
///
/// # Errors
/// As [`read_metrics`].
pub fn read_metrics_from(reader: impl BufRead, path: &Path) -> Result<Vec<Record>, ReportError> {
    let mut records = Vec::new();
    read_lines(reader, path, |line, bytes| {
        records.push(read_line(bytes, line)?);
        Ok(())
    })?;
    Ok(records)
}

/// Passes on each record up to the first line that is none, and says where that is: the file of a run in progress or of a killed run
/// may end in such a line.
pub(crate) fn each_record(
    path: &Path,
    mut take: impl FnMut(Record),
) -> Result<ReadEnd, ReportError> {
    keep_lines(path, |record, _| {
        take(record.clone());
        false
    })
    .map(|(_, end)| end)
}

/// Where reading ended.
#[derive(Debug)]
pub(crate) struct ReadEnd {
    /// Number of the line after the last record.
    pub line: usize,
    /// What is wrong with that line; `None` at the end of the file.
    pub fault: Option<String>,
}

impl ReadEnd {
    /// Which line ended the reading, and why; `None` where all was read.
    pub fn sentence(&self) -> Option<String> {
        Some(not_read_further(self.line, self.fault.as_ref()?))
    }
}

/// The sentence on a line of `metrics.jsonl` at which reading has ended, as it is no record for this reason.
#[must_use]
pub fn not_read_further(line: usize, what: &str) -> String {
    // Such a line says so itself.
    let why = shown_text(what.strip_prefix(NO_RECORD).unwrap_or(what));
    format!(
        "{METRICS_FILE} is read up to line {line}, which is no record: {why}; the rest is not read"
    )
}

/// The lines of a metrics file whose records are wanted, byte for byte, up to the first line that is no record: the process
/// was killed while it wrote that one.
pub(crate) fn keep_lines(
    path: &Path,
    mut wanted: impl FnMut(&Record, &[u8]) -> bool,
) -> Result<(Vec<u8>, ReadEnd), ReportError> {
    let mut kept = Vec::new();
    let mut end = ReadEnd {
        line: 1,
        fault: None,
    };
    let read = read_lines(open(path)?, path, |line, bytes| {
        if wanted(&read_line(bytes, line)?, bytes) {
            kept.extend_from_slice(bytes);
        }
        end.line = line + 1;
        Ok(())
    });
    match read {
        Ok(()) => {}
        Err(ReportError::Metrics { line, what, .. }) => {
            end = ReadEnd {
                line,
                fault: Some(what),
            }
        }
        Err(error) => return Err(error),
    }
    Ok((kept, end))
}

/// Refuses a file that would not be read: one that is no regular file, or too large.
pub(crate) fn check(path: &Path) -> Result<(), ReportError> {
    open(path).map(drop)
}

fn open(path: &Path) -> Result<BufReader<ForeignFile>, ReportError> {
    let file = foreign::open_inside(path, MAX_BYTES)
        .map_err(|source| ReportError::io("read", path, source))?;
    Ok(BufReader::new(file))
}

fn read_lines(
    mut reader: impl BufRead,
    path: &Path,
    mut take: impl FnMut(usize, &[u8]) -> Result<(), String>,
) -> Result<(), ReportError> {
    let unreadable = |source| ReportError::io("read", path, source);
    let refuse = |line, what| ReportError::Metrics {
        path: path.to_owned(),
        line,
        what,
    };
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut bytes);
        if read.map_err(unreadable)? == 0 {
            if line == 1 {
                let what = "the file is empty; a run record was expected";
                return Err(refuse(line, what.to_owned()));
            }
            break;
        }
        take(line, &bytes).map_err(|what| refuse(line, what))?;
    }
    Ok(())
}

pub(crate) fn read_line(bytes: &[u8], line: usize) -> Result<Record, String> {
    let Some(text) = bytes.strip_suffix(b"\n") else {
        return Err(match bytes.len() as u64 {
            MAX_LINE_BYTES => format!("the line is longer than {MAX_LINE_BYTES} bytes"),
            _ => "the line is cut short; the run was killed while it was written".to_owned(),
        });
    };
    let record = serde_json::from_slice(text).map_err(|error| format!("{NO_RECORD}{error}"))?;
    match &record {
        Record::Run(_) if line > 1 => Err("a second run record; expected only one".to_owned()),
        Record::Run(run) if run.format_version != METRICS_FORMAT => Err(format!(
            "the format version is {}; this version of stagger reads {METRICS_FORMAT}",
            run.format_version
        )),
        Record::Run(_) => Ok(record),
        _ if line == 1 => Err("the first record is not a run record".to_owned()),
        _ => Ok(record),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const RUN: &str = r#"{"kind":"run","format_version":1,"facts":{}}"#;
    const END: &str = r#"{"kind":"end","version":3,"interrupted":true,"wall_seconds":1.5,"peak_memory_bytes":null,"error":null}"#;

    const BATCH: &str = r#"{"kind":"batch","batch":0,"epoch":1,"loss":2.25,"top1":0.0,"top5":50.0,"lr":0.1,"samples":2,"seconds":1.5}"#;

    fn read(content: &str) -> Result<Vec<Record>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        fs::write(&path, content).unwrap();
        read_metrics(&path)
            .map_err(|error| error.to_string().replace(&path.display().to_string(), "m"))
    }

    #[test]
    fn errors_name_the_line() {
        let cases = [
            ("", "m, line 1: the file is empty"),
            (
                &format!("{END}\n"),
                "m, line 1: the first record is not a run record",
            ),
            (&format!("{RUN}\n{RUN}\n"), "m, line 2: a second run record"),
            (&format!("{RUN}\n{END}\n\n"), "m, line 3: no record: EOF"),
            (
                &format!("{RUN}\n{{\"kind\":\"soup\"}}\n"),
                "m, line 2: no record: unknown variant `soup`",
            ),
            (
                &format!("{RUN}\n{}\n", END.replace("1.5", "-1.5")),
                "m, line 2: no record: ",
            ),
            (
                &format!("{RUN}\n{}\n", BATCH.replace("2.25", "2e60")),
                "m, line 2: no record: a loss of inf; expected at most 3.4028235e38",
            ),
            (
                &format!("{RUN}\n{}", &END[..20]),
                "m, line 2: the line is cut short",
            ),
            (
                &RUN.replace(":1,", ":2,"),
                "m, line 1: the line is cut short",
            ),
            (
                &(RUN.replace(":1,", ":2,") + "\n"),
                "m, line 1: the format version is 2",
            ),
            (
                &"x".repeat(2 << 20),
                "m, line 1: the line is longer than 1048576 bytes",
            ),
        ];
        for (content, expected) in cases {
            let error = read(content).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_run_without_an_end_is_read() {
        assert_eq!(read(&format!("{RUN}\n")).unwrap().len(), 1);
        assert_eq!(read(&format!("{RUN}\n{BATCH}\n{END}\n")).unwrap().len(), 3);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_metrics(Path::new("/gone/metrics.jsonl"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("could not read /gone/metrics.jsonl: "),
            "{error}"
        );
    }
}
