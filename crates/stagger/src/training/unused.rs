//! Options that the run which is asked for cannot have.

use crate::error::Error;
use crate::options::TrainingOptions;
use crate::ranks::RanksError;
use crate::refusal::Refusal;

/// Options of links that the run does not have, as they are said. A resumed run may have been asked for them where it was
/// before.
pub(crate) fn refuse_unused_transport(
    options: &TrainingOptions,
    ranks: usize,
) -> Result<(), Error> {
    match options.transport.as_deref() {
        // It is what stages of one rank have between them.
        Some("threads") if ranks > 1 => Ok(()),
        Some(found @ "bytes") if ranks > 1 => Err(RanksError::Transport {
            found: found.to_owned(),
            ranks,
        }
        .into()),
        Some(found) if ranks > 1 => Err(Refusal::Choice {
            option: "transport",
            found: found.to_owned(),
            expected: "`threads`",
        }
        .into()),
        // An emulated run has a sentence of its own.
        None | Some("threads")
            if ranks == 1 && options.wire_dtype.is_some() && options.emulate.is_none() =>
        {
            Err(Refusal::Unused {
                option: "wire_dtype",
                beside: "transport",
                found: "threads".to_owned(),
                expected: "bytes",
            }
            .into())
        }
        _ => Ok(()),
    }
}

/// Options that need a run folder, in a run without one.
pub(super) fn refuse_without_folder(options: &TrainingOptions) -> Result<(), Refusal> {
    let rollback = options.on_nan.as_deref() == Some("rollback");
    let snapshots = options.snapshot_every.as_ref();
    for (option, found) in [
        ("on_nan", rollback.then(|| "rollback".to_owned())),
        ("snapshot_every", snapshots.map(|every| every.join(","))),
    ] {
        if let Some(found) = found {
            return Err(Refusal::NeedsFolder { option, found });
        }
    }
    Ok(())
}
