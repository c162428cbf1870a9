//! What a slice of a trace is.

/// What a stage did, or what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TraceKind {
    /// A forward pass.
    Forward,
    /// A forward pass at today's parameters, for the graph.
    Recompute,
    /// A backward pass, or the first half of one that is split.
    Backward,
    /// The second half of a backward pass: gradients of weights.
    Weights,
    /// A step of a synthesizer of gradients.
    Learn,
    /// An update of the parameters.
    Update,
    /// A part in an evaluation.
    Evaluate,
    /// A part in a snapshot.
    Snapshot,
    /// It waited for a message of a neighbour.
    Wait,
    /// It waited for images.
    WaitForImages,
    /// It waited for room in the queue to a neighbour.
    WaitForRoom,
}

impl TraceKind {
    /// All of them: what computes comes first.
    pub const ALL: [Self; 11] = [
        Self::Forward,
        Self::Recompute,
        Self::Backward,
        Self::Weights,
        Self::Learn,
        Self::Update,
        Self::Evaluate,
        Self::Snapshot,
        Self::Wait,
        Self::WaitForImages,
        Self::WaitForRoom,
    ];

    /// The letter with which names of its slices begin, as `F` in `F7.2`. A wait has none.
    pub fn letter(self) -> Option<char> {
        let letter = match self {
            Self::Forward => 'F',
            Self::Recompute => 'R',
            Self::Backward => 'B',
            Self::Weights => 'W',
            Self::Learn => 'L',
            Self::Update => 'U',
            Self::Evaluate => 'E',
            Self::Snapshot => 'S',
            Self::Wait | Self::WaitForImages | Self::WaitForRoom => return None,
        };
        Some(letter)
    }

    /// The category of its slices.
    pub fn category(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Recompute => "recompute",
            Self::Backward => "backward",
            Self::Weights => "weights",
            Self::Learn => "learn",
            Self::Update => "update",
            Self::Evaluate => "evaluate",
            Self::Snapshot => "snapshot",
            Self::Wait | Self::WaitForImages | Self::WaitForRoom => "wait",
        }
    }

    /// In words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Weights => "gradients of weights",
            Self::Wait => "wait for a neighbour",
            other => other.name_of_wait().unwrap_or(other.category()),
        }
    }

    /// The whole name of slices that are waits.
    pub(super) fn name_of_wait(self) -> Option<&'static str> {
        match self {
            Self::Wait => Some("wait"),
            Self::WaitForImages => Some("wait for images"),
            Self::WaitForRoom => Some("wait for room"),
            _ => None,
        }
    }

    /// Whether its number is that of a version, which it comes after, and not that of a batch.
    pub(super) fn follows_version(self) -> bool {
        matches!(self, Self::Evaluate | Self::Snapshot)
    }
}
