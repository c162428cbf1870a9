//! How a DSP configuration relates to its neighbours, in words.

use crate::Relation;

/// The neighbours of the DSP with this notation and staleness `m`, nearest in meaning first.
pub(super) fn of(here: &str, m: &[usize]) -> Vec<Relation> {
    let stages = m.len();
    if stages == 1 {
        return vec![relation(
            "bp",
            "The same: one stage has nothing to be stale against.",
        )];
    }
    let least: Vec<usize> = (0..stages).rev().collect();
    let smallest = super::dsp::example(Some(stages));
    let mut relations = vec![
        match m[0] {
            0 => relation("bp", "The same run, bit for bit: m = 0 everywhere."),
            _ => relation(
                "bp",
                "m = 0 everywhere: exact gradients, all locks, one stage at a time.",
            ),
        },
        Relation {
            other: "FR (Features Replay)".to_owned(),
            difference: if m == least {
                "The same numbers: FR is DSP with m_k = K−1−k, as it is here. As published, FR also \
                 has a barrier in every iteration, which holds its locks; there is none here."
                    .to_owned()
            } else {
                format!(
                    "DSP with m_k = K−1−k, here {}. As published, FR also has a barrier in every \
                     iteration, which holds its locks; run as DSP there is none.",
                    super::dsp::notation_of_staleness(&least)
                )
            },
        },
        relation(
            "DDG",
            "m_k = K−1−k, but the backward pass uses the weights and the graph of the forward \
             pass: no recompute, for m_k + 1 weight copies and as many graphs. Its published form \
             has the barrier too.",
        ),
    ];
    relations.push(Relation {
        other: "smallest lock-free DSP".to_owned(),
        difference: if here == smallest {
            "This one: c = 1 and b = 1 at every hop, so two units of staleness each.".to_owned()
        } else {
            format!("{smallest}: c = 1 and b = 1 at every hop, so two units of staleness each.")
        },
    });
    relations.push(relation(
        "DSP, same m, other c",
        "The same run, bit for bit: c and b only decide how much jitter and transfer time the \
         queues absorb.",
    ));
    relations.push(relation(
        "DSP, other m",
        "Other numbers: a larger m tolerates more delay, and its gradients are staler.",
    ));
    relations
}

fn relation(other: &str, difference: &str) -> Relation {
    Relation {
        other: other.to_owned(),
        difference: difference.to_owned(),
    }
}
