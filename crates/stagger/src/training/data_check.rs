//! Whether a resumed run goes by the images that it went by.

use std::path::Path;

use stagger_data::{DataError, Dataset, shown_text};
use stagger_report::snapshot::DataSeal;

use super::snapshots::Found;
use crate::error::Error;
use crate::job::Job;
use crate::resume_refusal::ResumeRefusal;

/// What the images are for that are evaluated at the end only: others take their place without an effect on the run.
const TEST: &str = "test on at the end";

/// Whether these are the images that are evaluated at the end only.
pub fn is_test(seal: &DataSeal) -> bool {
    seal.part == TEST
}

/// The images of a run.
pub fn seals(job: &Job) -> Result<Vec<DataSeal>, DataError> {
    let split = &job.split;
    let parts = [("train on", &split.train), ("evaluate on", &split.test)];
    let last = split.final_test.iter().map(|set| (TEST, set));
    let parts = parts.into_iter().chain(last);
    parts.map(|(part, set)| seal(part, &**set)).collect()
}

fn seal(part: &str, set: &dyn Dataset) -> Result<DataSeal, DataError> {
    let digits = |fingerprint| format!("{fingerprint:016x}");
    Ok(DataSeal {
        part: part.to_owned(),
        images: set.len(),
        fingerprint: digits(set.fingerprint()),
        content: set.content_fingerprint()?.map(digits),
    })
}

/// Refuses images that have changed, unless that is `accepted`: then a line says so. Their number has to be the same.
pub fn check(
    job: &Job,
    found: &Found,
    run: &Path,
    accepted: bool,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    let now = seals(job)?;
    let mut then = found.data.clone();
    if then.is_empty() {
        // Older snapshots speak of the training data only.
        then.extend(now.first().map(|now| DataSeal {
            fingerprint: found.data_fingerprint.clone(),
            ..now.clone()
        }));
    }
    for then in &mut then {
        // A manifest may be a stranger's.
        for text in [&mut then.part, &mut then.fingerprint]
            .into_iter()
            .chain(&mut then.content)
        {
            *text = shown_text(text).to_string();
        }
        let then = &*then;
        let Some(now) = now.iter().find(|now| now.part == then.part) else {
            if accepted && then.part == TEST {
                notes.push(format!("the images to {TEST} are gone, which is accepted"));
                continue;
            }
            return Err(ResumeRefusal::DataGone {
                run: run.to_owned(),
                part: then.part.clone(),
            }
            .into());
        };
        let Some(what) = difference(then, now) else {
            continue;
        };
        if !accepted || now.images != then.images {
            return Err(ResumeRefusal::Data {
                run: run.to_owned(),
                part: then.part.clone(),
                what,
                acceptable: now.images == then.images,
            }
            .into());
        }
        notes.push(format!(
            "the images to {} have changed, which is accepted: {what}",
            then.part
        ));
    }
    Ok(())
}

fn difference(then: &DataSeal, now: &DataSeal) -> Option<String> {
    let differ = |what: &str, then: &str, now: &str| format!("{what} was {then} and is {now} now");
    if then.images != now.images {
        let (then, now) = (then.images.to_string(), now.images.to_string());
        return Some(differ("their number", &then, &now));
    }
    if then.fingerprint != now.fingerprint {
        return Some(differ(
            "their fingerprint",
            &then.fingerprint,
            &now.fingerprint,
        ));
    }
    match (&then.content, &now.content) {
        (Some(then), Some(now)) if then != now => Some(differ(
            "the fingerprint of their files' content, under the same names and sizes,",
            then,
            now,
        )),
        _ => None,
    }
}
