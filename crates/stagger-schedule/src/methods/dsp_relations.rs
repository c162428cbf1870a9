//! How a DSP configuration relates to its neighbours, in words.

use crate::Relation;

/// Notations of DSP on as many stages.
pub(super) struct Notations {
    /// The one whose neighbours are asked for.
    pub(super) here: String,
    /// The smallest without locks.
    pub(super) smallest: String,
    /// The one with m_k = K−1−k.
    pub(super) features_replay: String,
}

/// The neighbours of the DSP with staleness `m`, nearest in meaning first.
pub(super) fn of(m: &[usize], notations: &Notations) -> Vec<Relation> {
    let stages = m.len();
    if stages == 1 {
        return vec![Relation::new(
            "bp",
            "The same: one stage has nothing to be stale against.",
        )];
    }
    let Notations {
        here,
        smallest,
        features_replay,
    } = notations;
    let mut relations = vec![
        match m[0] {
            0 => Relation::new("bp", "The same run, bit for bit: m = 0 everywhere."),
            _ => Relation::new(
                "bp",
                "m = 0 everywhere: exact gradients, all locks, one stage at a time.",
            ),
        },
        Relation::new(
            "FR (Features Replay)",
            if m.iter().copied().eq((0..stages).rev()) {
                "The same numbers: FR is DSP with m_k = K−1−k, as it is here. As published, FR also \
                 has a barrier in every iteration, which holds its locks; there is none here."
                    .to_owned()
            } else {
                format!(
                    "DSP with m_k = K−1−k, here {features_replay}. As published, FR also has a barrier in every \
                     iteration, which holds its locks; run as DSP there is none."
                )
            },
        ),
        Relation::new(
            "DDG",
            "m_k = K−1−k, but the backward pass uses the weights and the graph of the forward \
             pass: no recompute, for m_k + 1 weight copies and as many graphs. Its published form \
             has the barrier too.",
        ),
    ];
    relations.push(Relation::new(
        "smallest lock-free DSP",
        if here == smallest {
            "This one: c = 1 and b = 1 at every hop, so two units of staleness each.".to_owned()
        } else {
            format!("{smallest}: c = 1 and b = 1 at every hop, so two units of staleness each.")
        },
    ));
    relations.push(Relation::new(
        "DSP, same m, other c",
        "The same run, bit for bit: c and b only decide how much jitter and transfer time the \
         queues absorb.",
    ));
    relations.push(Relation::new(
        "DSP, other m",
        "Other numbers: a larger m tolerates more delay, and its gradients are staler.",
    ));
    relations
}
