//! What connects stages.

use stagger_transport::wire::Format;

use crate::options::TrainingOptions;
use crate::refusal::Refusal;

/// What connects the stages of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportChoice {
    /// A tensor moves to the next stage without a copy.
    #[default]
    Threads,
    /// Every message is written to bytes and read again, as between processes.
    Bytes,
}

/// The transport, and the format of tensors that go through bytes.
pub(super) fn choose(options: &TrainingOptions) -> Result<(TransportChoice, Format), Refusal> {
    let unknown = |option, found: &str, expected| Refusal::Choice {
        option,
        found: found.to_owned(),
        expected,
    };
    let transport = match options.transport.as_deref() {
        None | Some("threads") => TransportChoice::Threads,
        Some("bytes") => TransportChoice::Bytes,
        Some(found) => return Err(unknown("transport", found, "`threads` or `bytes`")),
    };
    let format = match options.wire_dtype.as_deref() {
        None | Some("f32") => Format::F32,
        Some("bf16") => Format::Bf16,
        Some(found) => return Err(unknown("wire_dtype", found, "`f32` or `bf16`")),
    };
    Ok((transport, format))
}
