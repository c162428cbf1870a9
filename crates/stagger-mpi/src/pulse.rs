//! Whether the other ranks are still there.
//!
//! MPI does not tell of a peer whose process is stopped, whose host is gone, or whose network is cut: messages just do not come. So
//! rank 0 and every other rank send each other an empty message from time to time, and a rank that hears nothing from the other for
//! too long takes it to be lost.

use std::time::{Duration, Instant};

/// How often a rank sends.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// What one rank knows of those that it has to hear from.
pub(super) struct Pulse {
    limit: Option<Duration>,
    peers: Vec<Peer>,
    sent: Instant,
    looked: Instant,
}

struct Peer {
    rank: usize,
    heard: Instant,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Whether the peers are to hear of this rank.
    pub sends: bool,
    /// A rank that has not been heard of for too long.
    pub lost: Option<usize>,
}

impl Pulse {
    /// Of a rank among `size`. No rank is watched before [`Pulse::watch`].
    pub fn new(rank: usize, size: usize, now: Instant) -> Self {
        let ranks = if rank == 0 { 1..size } else { 0..1 };
        Self {
            limit: None,
            peers: ranks.map(|rank| Peer { rank, heard: now }).collect(),
            sent: now,
            looked: now,
        }
    }

    /// From now on a rank is lost that is not heard of for so long.
    pub fn watch(&mut self, limit: Duration, now: Instant) {
        self.limit = Some(limit);
        self.hear_all(now);
    }

    /// The ranks that hear of this one, and that it hears of.
    pub fn peers(&self) -> impl Iterator<Item = usize> {
        self.peers.iter().map(|peer| peer.rank)
    }

    /// Something has come from a rank.
    pub fn heard(&mut self, from: usize, now: Instant) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.rank == from) {
            peer.heard = now;
        }
    }

    fn hear_all(&mut self, now: Instant) {
        for peer in &mut self.peers {
            peer.heard = now;
        }
    }

    /// To be called often.
    pub fn look(&mut self, now: Instant) -> Due {
        // This process itself was stopped, or had no processor: what has come meanwhile has not been looked at.
        if now.duration_since(self.looked) > INTERVAL {
            self.hear_all(now);
        }
        self.looked = now;
        let sends = now.duration_since(self.sent) >= INTERVAL;
        if sends {
            self.sent = now;
        }
        let is_lost = |peer: &&Peer| {
            let silent = now.duration_since(peer.heard);
            self.limit.is_some_and(|limit| silent >= limit)
        };
        let lost = self.peers.iter().find(is_lost).map(|peer| peer.rank);
        Due { sends, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Calls `look` ten times a second for so many seconds. How often it was time to send, and which rank was lost after how long.
    fn looks(pulse: &mut Pulse, from: Instant, seconds: u32) -> (usize, Option<(usize, Duration)>) {
        let mut sent = 0;
        for tenth in 1..=10 * seconds {
            let after = tenth * Duration::from_millis(100);
            let due = pulse.look(from + after);
            sent += usize::from(due.sends);
            if let Some(lost) = due.lost {
                return (sent, Some((lost, after)));
            }
        }
        (sent, None)
    }

    #[test]
    fn rank_0_watches_all_and_the_others_rank_0() {
        let now = Instant::now();
        let peers = |rank| Pulse::new(rank, 4, now).peers().collect::<Vec<_>>();
        assert_eq!(peers(0), [1, 2, 3]);
        assert_eq!(peers(2), [0]);
    }

    #[test]
    fn a_silent_rank_is_lost_after_the_limit() {
        let start = Instant::now();
        let mut pulse = Pulse::new(0, 3, start);
        pulse.watch(LIMIT, start);
        for second in 0..30 {
            let now = start + second * INTERVAL;
            pulse.heard(1, now);
            let (sent, lost) = looks(&mut pulse, now, 1);
            assert_eq!(sent, 1);
            let expected = (second == 9).then_some((2, INTERVAL));
            assert_eq!(lost, expected, "second {second}");
            if lost.is_some() {
                return;
            }
        }
    }

    #[test]
    fn without_a_limit_none_is_lost() {
        let start = Instant::now();
        let mut pulse = Pulse::new(1, 2, start);
        assert_eq!(looks(&mut pulse, start, 100), (100, None));
    }

    #[test]
    fn the_silence_of_a_stopped_process_is_its_own() {
        let start = Instant::now();
        let mut pulse = Pulse::new(1, 2, start);
        pulse.watch(LIMIT, start);
        let woken = start + Duration::from_secs(60);
        assert_eq!(pulse.look(woken).lost, None);
        // After that the limit holds again.
        let (_, lost) = looks(&mut pulse, woken, 60);
        assert_eq!(lost, Some((0, LIMIT)));
    }
}
