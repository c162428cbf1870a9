//! `stagger weights`.

use anyhow::anyhow;
use stagger::data::{shown_path, shown_text};
use stagger::{Spelling, WeightsCopy};

use super::print;
use crate::failure::Failure;
use crate::flags::WeightsArgs;

/// Copies weights to a file, under other names.
pub fn run(arguments: WeightsArgs) -> Result<(), Failure> {
    let names = (arguments.names.parse())
        .map_err(|refusal: stagger::Refusal| anyhow!(refusal.sentence(Spelling::Flags)))?;
    let copy = WeightsCopy {
        from: arguments.from,
        to: arguments.to,
        names,
        model: arguments.model,
    };
    let copied = copy.run()?;
    for note in &copied.notes {
        print(&format!("{}\n", shown_text(note)))?;
    }
    print(&format!(
        "{}: {} tensors of {}, {names} names\n",
        shown_path(&copy.to),
        copied.tensors,
        shown_path(&copied.from)
    ))?;
    Ok(())
}
