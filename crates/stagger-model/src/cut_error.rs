//! What can be wrong with a cut.

use crate::error::ModelError;
use crate::quantity::bytes;

/// Why a model cannot be cut as asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// The text is no balance.
    #[error(
        "`{text}` is no balance: `{found}` at position {position} is not a number of blocks (at least 1); \
         write `auto`, `profile`, `uniform`, a file that `stagger profile` has written, or the number of blocks of each stage as in \
         `7,4`"
    )]
    Notation {
        /// The whole text.
        text: String,
        /// The part that is wrong.
        found: String,
        /// Where it starts, counted in characters from 1.
        position: usize,
    },
    /// A balance by measured costs where nothing has been measured.
    #[error(
        "the balance `{balance}` goes by measured times, and none are at hand; write the cut that it has found, such as `7,4`"
    )]
    NotMeasured {
        /// The balance.
        balance: String,
    },
    /// There are more stages than blocks.
    #[error(
        "model `{model}` has {}, too few for {} of at least one block each; use at most {} or a deeper model",
        counted(*blocks, "block"),
        counted(*stages, "stage"),
        counted(*blocks, "stage")
    )]
    TooManyStages {
        /// The model.
        model: String,
        /// Its number of blocks.
        blocks: usize,
        /// The number of stages asked for.
        stages: usize,
    },
    /// There are no stages.
    #[error("model `{model}` cannot be cut into 0 stages; use at least 1")]
    NoStages {
        /// The model.
        model: String,
    },
    /// An explicit balance is for another number of stages.
    #[error(
        "the balance `{balance}` is for {} but there {} {expected}; give one number of blocks for each stage",
        counted(*found, "stage"),
        are(*expected)
    )]
    StageCount {
        /// The balance.
        balance: String,
        /// The number of stages.
        expected: usize,
        /// The number of stages of the balance.
        found: usize,
    },
    /// An explicit balance has a stage without blocks.
    #[error(
        "the balance `{balance}` leaves stage {stage} without blocks; give each stage at least 1"
    )]
    EmptyStage {
        /// The balance.
        balance: String,
        /// The stage, counted from 0.
        stage: usize,
    },
    /// An explicit balance is for another number of blocks.
    #[error(
        "the balance `{balance}` deals out {} but model `{model}` has {expected}; change it so that the numbers add up to {expected}",
        counted(*found, "block")
    )]
    BlockCount {
        /// The balance.
        balance: String,
        /// The model.
        model: String,
        /// The number of blocks of the model.
        expected: usize,
        /// The sum of the balance.
        found: usize,
    },
    /// The number of measured costs is not that of the blocks.
    #[error(
        "a cut expects {expected} {pass} costs, one per block, but gets {found}; measure this model"
    )]
    CostCount {
        /// `forward`, `recompute`, `backward` or `update`.
        pass: &'static str,
        /// The number of blocks.
        expected: usize,
        /// The number of costs.
        found: usize,
    },
    /// A measured cost is no length of time.
    #[error("the {pass} cost of block {block} is {found}; expected a finite number of at least 0")]
    CostValue {
        /// `forward`, `recompute`, `backward` or `update`.
        pass: &'static str,
        /// The block, counted from 0.
        block: usize,
        /// The cost.
        found: String,
    },
    /// No cut fits the memory of the devices.
    #[error(
        "no cut of model `{model}` keeps every stage within the memory of its device ({}); use more stages, a smaller batch size, or \
         a method that keeps less",
        rooms(limits)
    )]
    Memory {
        /// The model.
        model: String,
        /// Bytes of each stage's device; `None` where there is no limit.
        limits: Vec<Option<u64>>,
    },
    /// The model is not sound.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// `1 block`, `2 blocks`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

fn are(count: usize) -> &'static str {
    match count {
        1 => "is",
        _ => "are",
    }
}

/// `stage 0 has 1.5 GiB, stage 2 has 16 GiB`.
fn rooms(limits: &[Option<u64>]) -> String {
    let room = |(stage, limit): (usize, &Option<u64>)| {
        limit.map(|limit| format!("stage {stage} has {}", bytes(limit)))
    };
    let rooms: Vec<String> = limits.iter().enumerate().filter_map(room).collect();
    rooms.join(", ")
}
