//! Runs that cannot be resumed.

use std::fmt;
use std::path::PathBuf;

use stagger_data::{path_for_shell, shown_path};

use crate::error::Source;
use crate::refusal::Spelling;

/// Why a run is not resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeRefusal {
    /// The output is not the folder of the run.
    Output {
        /// The output.
        output: PathBuf,
    },
    /// The path is neither a run folder nor a snapshot.
    NoRun {
        /// The path.
        path: PathBuf,
        /// The folder in which the config was looked for.
        run: PathBuf,
        /// The name of the config.
        config: &'static str,
    },
    /// The path cannot be looked at.
    Unreachable {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The run is of an engine that is no longer there.
    Engine {
        /// The run folder.
        run: PathBuf,
        /// The engine.
        found: &'static str,
        /// The engine in its place.
        expected: &'static str,
    },
    /// The run keeps no snapshots.
    NoSnapshots {
        /// The run folder.
        run: PathBuf,
    },
    /// The run has ended, and its snapshots are gone.
    SnapshotsGone {
        /// The run folder.
        run: PathBuf,
    },
    /// None of the snapshots is whole.
    Damaged {
        /// The run folder.
        run: PathBuf,
        /// What is wrong with each.
        notes: Vec<String>,
    },
    /// An option differs from what it was.
    Option {
        /// The run folder.
        run: PathBuf,
        /// The option, in snake case.
        option: String,
        /// What it was.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The layers of the network differ.
    Network {
        /// The run folder.
        run: PathBuf,
        /// The network.
        model: String,
    },
    /// The cut differs.
    Cut {
        /// The run folder.
        run: PathBuf,
        /// Blocks of each stage as they were.
        expected: Vec<usize>,
        /// As they are.
        found: Vec<usize>,
    },
    /// Images differ.
    Data {
        /// The run folder.
        run: PathBuf,
        /// What they are for, with a verb: `train on`.
        part: String,
        /// What of them was what, and is what.
        what: String,
        /// Whether the run may go on with them, once that is asked for: there are as many as before.
        acceptable: bool,
    },
    /// Images are gone.
    DataGone {
        /// The run folder.
        run: PathBuf,
        /// What they were for, with a verb: `test on at the end`.
        part: String,
    },
    /// The manifest of a snapshot makes no sense.
    Manifest {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        source: Source,
    },
}

impl ResumeRefusal {
    /// The sentence, with options named in this way.
    pub fn sentence(&self, spelling: Spelling) -> String {
        let (resume, weights) = (spelling.name("resume"), spelling.name("resume_weights"));
        let instead = |run: &PathBuf| {
            format!(
                "a resumed run has to be the run that it was; to change it, start a new one with {weights} {}",
                path_for_shell(run)
            )
        };
        let last_weights = |run: &PathBuf| {
            format!(
                "with {weights} {} for its last weights",
                path_for_shell(run)
            )
        };
        match self {
            Self::Output { output } => format!(
                "{resume} continues in the folder of the run, and {} {} is another; leave it out",
                spelling.name("output"),
                shown_path(output)
            ),
            Self::NoRun { path, run, config } => format!(
                "{resume}: {} is neither a run folder nor one of its snapshots: there is no {config} in {}",
                shown_path(path),
                shown_path(run)
            ),
            Self::Unreachable { path, source } => {
                format!("{resume} {}: {source}", shown_path(path))
            }
            Self::Engine {
                run,
                found,
                expected,
            } => format!(
                "{} was trained by engine `{found}`, which is no longer there, and engine `{expected}` may give other last \
                 bits; start a new run, {}",
                shown_path(run),
                last_weights(run)
            ),
            Self::NoSnapshots { run } => format!(
                "{} keeps no snapshots to go on from; start a new run, {}",
                shown_path(run),
                last_weights(run)
            ),
            Self::SnapshotsGone { run } => format!(
                "{} has been trained, and its snapshots are gone; to train on, start a new run, {}",
                shown_path(run),
                last_weights(run)
            ),
            Self::Damaged { run, notes } => format!(
                "none of the snapshots of {} is whole: {}; start a new run, {}",
                shown_path(run),
                notes.join("; "),
                last_weights(run)
            ),
            Self::Network { run, model } => format!(
                "the network {model} has other layers now than in {}; a resumed run has to be the run that it was; leave {} out, or start a new run",
                shown_path(run),
                spelling.name("model")
            ),
            Self::Option {
                run,
                option,
                expected,
                found,
            } => {
                if option == "emulate" {
                    let option = spelling.name(option);
                    return format!(
                        "{option} was {expected} and is {found} now; a resumed run has to be the run that it was; leave the {} out, \
                         or start a new run",
                        spelling.noun()
                    );
                }
                let rule = match option.as_str() {
                    "epochs" | "max_batches" => ": a run can be made longer, not shorter",
                    _ => "",
                };
                let option = spelling.name(option);
                format!(
                    "{option} was {expected} and is {found} now{rule}; {}",
                    instead(run)
                )
            }
            Self::Cut {
                run,
                expected,
                found,
            } => format!(
                "the blocks of the stages were {expected:?} and are {found:?} now; {}",
                instead(run)
            ),
            Self::Data {
                run,
                part,
                what,
                acceptable,
            } => {
                let accept = match acceptable {
                    true => format!(
                        "; if the change is meant, such as a repaired file, resume with {}",
                        spelling.name("accept_changed_data")
                    ),
                    false => String::new(),
                };
                format!(
                    "the images to {part} have changed: {what}; {}{accept}",
                    instead(run)
                )
            }
            Self::DataGone { run, part } => {
                format!("the images to {part} are gone; {}", instead(run))
            }
            Self::Manifest { path, source } => {
                format!("the manifest of {}: {source}", shown_path(path))
            }
        }
    }
}

impl fmt::Display for ResumeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(Spelling::Fields))
    }
}
