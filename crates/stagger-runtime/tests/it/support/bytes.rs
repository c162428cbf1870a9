//! A second transport, which shares no queue with that of `stagger-transport`: messages of toy runs travel as bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use stagger_transport::{
    Capacities, ConnectError, Content, Ends, Header, Lane, Link, LinkError, Mark, Message,
    StopSignal, Transport,
};

use super::ToyTensor;
use super::toy::WIDTH;

/// Every message is written to bytes, and read from them at the other end.
pub struct Bytes;

impl Transport<ToyTensor> for Bytes {
    fn connect(
        &self,
        _hop: usize,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<ToyTensor>, ConnectError> {
        let hop = Arc::new(Hop {
            capacities: [capacities.activation, capacities.gradient, 1],
            lanes: Mutex::default(),
            changed: Condvar::new(),
            stop: stop.clone(),
        });
        let end = |is_upper| End {
            hop: Arc::clone(&hop),
            is_upper,
        };
        Ok(Ends::both(end(false), end(true)))
    }
}

struct Hop {
    /// By lane.
    capacities: [usize; 3],
    lanes: Mutex<Lanes>,
    changed: Condvar,
    stop: StopSignal,
}

#[derive(Default)]
struct Lanes {
    /// By lane.
    sent: [VecDeque<Vec<u8>>; 3],
    /// Activations that the upper end took in while it waited for an evaluation input.
    taken_in: VecDeque<Vec<u8>>,
    /// Whether the lower and the upper end are gone.
    gone: [bool; 2],
}

struct End {
    hop: Arc<Hop>,
    is_upper: bool,
}

const LANES: [Lane; 3] = [Lane::Activation, Lane::Gradient, Lane::Evaluation];

fn number(lane: Lane) -> usize {
    LANES.iter().position(|&other| other == lane).expect("one")
}

impl End {
    fn check(&self, verb: &'static str, lane: Lane) -> Result<(), LinkError> {
        let leads_here = (lane == Lane::Gradient) != self.is_upper;
        if leads_here == (verb == "receive") {
            return Ok(());
        }
        Err(LinkError::WrongDirection { verb, lane })
    }

    fn check_stop(&self) -> Result<(), LinkError> {
        if self.hop.stop.is_raised() {
            return Err(LinkError::Stopped);
        }
        Ok(())
    }

    fn check_peer(&self, lanes: &Lanes, lane: Lane) -> Result<(), LinkError> {
        if lanes.gone[usize::from(!self.is_upper)] {
            return Err(LinkError::PeerGone { lane });
        }
        Ok(())
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.hop.lanes.lock().expect("no end panics with the lock")
    }

    /// Waits for a change, or until it is time to look at the stop again.
    fn wait<'a>(&self, lanes: MutexGuard<'a, Lanes>) -> MutexGuard<'a, Lanes> {
        let waited = self
            .hop
            .changed
            .wait_timeout(lanes, Duration::from_millis(1));
        waited.expect("no end panics with the lock").0
    }
}

impl Link<ToyTensor> for End {
    fn send(&mut self, message: Message<ToyTensor>) -> Result<(), LinkError> {
        let lane = message.header.lane;
        self.check("send", lane)?;
        let mut lanes = self.lanes();
        self.check_stop()?;
        self.check_peer(&lanes, lane)?;
        lanes.sent[number(lane)].push_back(write(&message));
        self.hop.changed.notify_all();
        while lanes.sent[number(lane)].len() > self.hop.capacities[number(lane)] {
            self.check_stop()?;
            self.check_peer(&lanes, lane)?;
            lanes = self.wait(lanes);
        }
        Ok(())
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<ToyTensor>, LinkError> {
        self.check("receive", lane)?;
        let mut lanes = self.lanes();
        loop {
            self.check_stop()?;
            let taken_in = match lane {
                Lane::Activation => lanes.taken_in.pop_front(),
                Lane::Gradient | Lane::Evaluation => None,
            };
            if let Some(bytes) = taken_in.or_else(|| lanes.sent[number(lane)].pop_front()) {
                self.hop.changed.notify_all();
                return Ok(read(&bytes));
            }
            if lane == Lane::Evaluation {
                let Lanes { sent, taken_in, .. } = &mut *lanes;
                taken_in.append(&mut sent[number(Lane::Activation)]);
                self.hop.changed.notify_all();
            }
            self.check_peer(&lanes, lane)?;
            lanes = self.wait(lanes);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Ok(mut lanes) = self.hop.lanes.lock() {
            lanes.gone[usize::from(self.is_upper)] = true;
        }
        self.hop.changed.notify_all();
    }
}

/// Numbers of 8 bytes each, then the values of the tensor.
fn write(message: &Message<ToyTensor>) -> Vec<u8> {
    let Header {
        lane,
        batch,
        micro,
        version,
        sent_at,
        mark,
    } = message.header;
    let nanoseconds = u64::try_from(sent_at.as_nanos()).expect("a short run");
    let (mark_at, halts) = mark.map_or((0, false), |mark| (mark.version, mark.halts));
    let (content, rows) = match &message.content {
        Content::Payload(ToyTensor(rows)) => (0, &rows[..]),
        Content::Void => (1, &[][..]),
        Content::End => (2, &[][..]),
    };
    [
        number(lane) as u64,
        batch as u64,
        micro as u64,
        version as u64,
        nanoseconds,
        mark.is_some().into(),
        mark_at as u64,
        halts.into(),
        content,
    ]
    .iter()
    .flat_map(|number| number.to_le_bytes())
    .chain(
        rows.as_flattened()
            .iter()
            .flat_map(|value| value.to_le_bytes()),
    )
    .collect()
}

fn read(bytes: &[u8]) -> Message<ToyTensor> {
    let (numbers, values) = bytes.split_at(9 * 8);
    let numbers: Vec<usize> = numbers
        .chunks_exact(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")) as usize)
        .collect();
    let values: Vec<f32> = values
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes")))
        .collect();
    let header = Header {
        lane: LANES[numbers[0]],
        batch: numbers[1],
        micro: numbers[2],
        version: numbers[3],
        sent_at: Duration::from_nanos(numbers[4] as u64),
        mark: (numbers[5] == 1).then_some(Mark {
            version: numbers[6],
            halts: numbers[7] == 1,
        }),
    };
    let rows = values
        .chunks_exact(WIDTH)
        .map(|row| std::array::from_fn(|i| row[i]));
    let content = match numbers[8] {
        0 => Content::Payload(ToyTensor(rows.collect())),
        1 => Content::Void,
        _ => Content::End,
    };
    Message { header, content }
}
