//! The wire format: what is written is read, and what no sender writes is refused by name.

use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use stagger_transport::wire::{
    Address, Format, PayloadError, WIRE_VERSION, WireTensor, address, check, read_control,
    write_control,
};
use stagger_transport::{
    Bytes, Capacities, Content, Header, Hop, Lane, LinkError, Mark, Message, Payload, Placement,
    Ranks, Transport, WireError, stop_channel, world,
};

/// Any tensor.
#[derive(Clone, Debug, PartialEq)]
struct Values(Vec<usize>, Vec<f32>);

impl Payload for Values {
    fn with_values(&self, write: impl FnOnce(&[usize], &[f32])) -> Result<(), PayloadError> {
        if self.1.first() == Some(&13.0) {
            return Err("the device is gone".into());
        }
        write(&self.0, &self.1);
        Ok(())
    }

    fn read(tensor: WireTensor<'_>) -> Result<Self, PayloadError> {
        let values = tensor.values();
        Ok(Self(tensor.shape, values))
    }
}

const ROOM: Capacities = Capacities {
    activation: 4,
    gradient: 4,
};

fn header(lane: Lane) -> Header {
    Header {
        lane,
        batch: 7,
        micro: 2,
        version: 5,
        sent_at: Duration::from_nanos(123_456_789),
        mark: None,
    }
}

/// What arrives of a message that goes through bytes.
fn carried(message: Message<Values>, format: Format) -> Result<Message<Values>, LinkError> {
    let (_source, stop) = stop_channel();
    let ends = Bytes { format }
        .connect(Hop::above(0), ROOM, &stop)
        .expect("connected");
    let (mut lower, mut upper) = (ends.lower.expect("one"), ends.upper.expect("one"));
    let lane = message.header.lane;
    match lane {
        Lane::Gradient => {
            upper.send(message)?;
            lower.receive(lane)
        }
        Lane::Activation | Lane::Evaluation => {
            lower.send(message)?;
            upper.receive(lane)
        }
    }
}

fn lanes() -> impl Strategy<Value = Lane> {
    prop_oneof![
        Just(Lane::Activation),
        Just(Lane::Gradient),
        Just(Lane::Evaluation)
    ]
}

fn tensors() -> impl Strategy<Value = Values> {
    prop::collection::vec(0_usize..5, 0..=4).prop_flat_map(|shape| {
        let count: usize = shape.iter().product();
        let values = prop::collection::vec(any::<u32>(), count);
        values.prop_map(move |bits| {
            let values = bits.into_iter().map(f32::from_bits);
            Values(
                shape.clone(),
                values.map(|v| if v == 13.0 { 0.0 } else { v }).collect(),
            )
        })
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        lane in lanes(),
        tensor in tensors(),
        (batch, micro, version) in (any::<u32>(), any::<u32>(), any::<u32>()),
        sent_at in any::<u64>(),
        mark in prop::option::of((any::<u32>(), any::<bool>())),
    ) {
        let header = Header {
            lane,
            batch: batch as usize,
            micro: micro as usize,
            version: version as usize,
            sent_at: Duration::from_nanos(sent_at),
            mark: mark.map(|(version, halts)| Mark { version: version as usize, halts }),
        };
        let content = Content::Payload(tensor.clone());
        let found = carried(Message { header, content }, Format::F32).unwrap();
        prop_assert_eq!(found.header, header);
        let Content::Payload(Values(shape, values)) = found.content else {
            panic!("a tensor came");
        };
        prop_assert_eq!(shape, tensor.0);
        prop_assert_eq!(bits(&values), bits(&tensor.1));
    }

    /// Halves are the nearest ones, ties to even; infinities and NaN stay what they are.
    #[test]
    fn bf16_is_the_nearest(
        bits in prop_oneof![any::<u32>(), 0x7f7e_0000..=0x7f80_0001_u32, 0xff7e_0000..=0xff80_0001_u32],
    ) {
        let value = f32::from_bits(bits);
        let tensor = Values(vec![], vec![value]);
        prop_assume!(value != 13.0);
        let message = Message { header: header(Lane::Activation), content: Content::Payload(tensor) };
        let found = carried(message, Format::Bf16).unwrap().content;
        let Content::Payload(Values(_, found)) = found else {
            panic!("a tensor came");
        };
        let found = found[0];
        prop_assert_eq!(found.to_bits() & 0xffff, 0);
        if value.is_nan() {
            prop_assert!(found.is_nan());
        } else {
            let below = f32::from_bits(bits & 0xffff_0000);
            let above = f32::from_bits((bits & 0xffff_0000).wrapping_add(0x1_0000));
            // Infinity is as far away as the number that would follow the largest one.
            let wide = |of: f32| match of.is_infinite() {
                true => 2_f64.powi(128).copysign(f64::from(of)),
                false => f64::from(of),
            };
            let to = |other: f32| (wide(value) - wide(other)).abs();
            if value.is_infinite() || to(below) < to(above) {
                prop_assert_eq!(found.to_bits(), below.to_bits());
            } else if to(above) < to(below) {
                prop_assert_eq!(found.to_bits(), above.to_bits());
            } else {
                prop_assert_eq!((found.to_bits() >> 16) & 1, 0);
            }
        }
    }

    /// Whatever comes is read or refused; nothing panics, and nothing is allocated by what a length says.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = check(&bytes);
        let _ = address(&bytes);
        let _ = read_control(&bytes);
    }

    /// A frame in which a byte of the head is another one: it is refused, or means another message.
    #[test]
    fn a_changed_byte_is_no_panic(at in 0_usize..96, to in any::<u8>()) {
        let mut frame = frame();
        if let Some(byte) = frame.get_mut(at) {
            *byte = to;
        }
        let _ = check(&frame);
        let _ = address(&frame);
    }
}

#[test]
fn ties_of_bf16_go_to_the_even_one() {
    for (bits, expected) in [
        (0x3f80_8000, 0x3f80_0000),
        (0x3f81_8000, 0x3f82_0000),
        (0xbf81_8000, 0xbf82_0000),
        // Above the largest half there is an infinity, and below the smallest there is 0.
        (0x7f7f_ffff, 0x7f80_0000),
        (0x0000_8000, 0x0000_0000),
        (0x0001_8000, 0x0002_0000),
    ] {
        let content = Content::Payload(Values(vec![], vec![f32::from_bits(bits)]));
        let header = header(Lane::Activation);
        let found = carried(Message { header, content }, Format::Bf16).unwrap();
        let expected = Values(vec![], vec![f32::from_bits(expected)]);
        assert_eq!(found.content, Content::Payload(expected), "{bits:#x}");
    }
}

/// A frame with a tensor of 2 × 3 values, as a rank posts it.
fn frame() -> Vec<u8> {
    let (_source, stop) = stop_channel();
    let mut worlds = world::in_process(2).into_iter();
    let (below, above) = (worlds.next().unwrap(), worlds.next().unwrap());
    let (frames_in, frames) = std::sync::mpsc::channel();
    let of_hop = Address::Hop { stretch: 1, hop: 0 };
    above.open(
        of_hop,
        std::sync::Arc::new(move |from, frame| {
            assert_eq!(from, 0);
            frames_in.send(frame).unwrap();
        }),
    );
    let ranks = Ranks {
        world: below,
        placement: Placement::even(2, 2).unwrap(),
        stretch: 1,
        format: Format::F32,
    };
    let ends = Transport::<Values>::connect(&ranks, Hop::above(0), ROOM, &stop).unwrap();
    let tensor = Values(vec![2, 3], vec![0.5; 6]);
    let content = Content::Payload(tensor);
    let header = header(Lane::Activation);
    ends.lower
        .unwrap()
        .send(Message { header, content })
        .unwrap();
    frames.recv().unwrap()
}

#[test]
fn a_frame_is_as_docs_say() {
    let frame = frame();
    assert_eq!(check(&frame), Ok(()));
    assert_eq!(address(&frame), Ok(Address::Hop { stretch: 1, hop: 0 }));
    let mut expected = b"STGR".to_vec();
    expected.extend(WIRE_VERSION.to_le_bytes());
    // Kind, lane, mark, format, sides, reserved.
    expected.extend([0, 0, 0, 1, 2, 0]);
    // Stretch, hop, micro-batch.
    expected.extend([1_u32, 0, 2].iter().flat_map(|number| number.to_le_bytes()));
    // Batch, version, time, version of the mark, bytes of the values, sides.
    let numbers = [7_u64, 5, 123_456_789, 0, 24, 2, 3];
    expected.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    expected.extend([0.5_f32; 6].iter().flat_map(|value| value.to_le_bytes()));
    assert_eq!(frame, expected);
}

/// Changes some bytes of a good frame, and gives what a reader says.
fn refused(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut frame = frame();
    change(&mut frame);
    let error = check(&frame).expect_err("it is no frame");
    error.to_string()
}

#[test]
fn what_no_sender_writes_is_refused_by_name() {
    let field = |at: usize, to: u8| refused(|frame| frame[at] = to);
    assert_eq!(
        field(0, b'X'),
        "a frame begins with the bytes [58, 54, 47, 52], which are not stagger's"
    );
    assert_eq!(
        field(4, 9),
        "a frame has version 9 of the wire format, and this program has 1"
    );
    assert_eq!(
        field(6, 9),
        "a frame has the format 1, which does not exist"
    );
    assert_eq!(field(7, 3), "a frame has the lane 3, which does not exist");
    assert_eq!(field(8, 3), "a frame has the mark 3, which does not exist");
    assert_eq!(
        field(9, 7),
        "a frame has the format 7, which does not exist"
    );
    assert_eq!(
        field(10, 200),
        "a frame has the number of sides 200, which does not exist"
    );
    assert_eq!(
        field(11, 1),
        "a frame has the reserved byte 1, which does not exist"
    );
    assert_eq!(
        refused(|frame| frame.truncate(20)),
        "a frame of 20 bytes came where its head needs 64"
    );
    assert_eq!(
        refused(|frame| frame.push(0)),
        "a frame of 105 bytes came where its head needs 104"
    );
    assert_eq!(
        refused(|frame| frame.truncate(100)),
        "a frame of 100 bytes came where its head needs 104"
    );
    // A side that would ask for more memory than there is.
    assert_eq!(
        refused(|frame| frame[64..72].copy_from_slice(&u64::MAX.to_le_bytes())),
        "a frame's tensor has 24 bytes, and its shape needs 18446744073709551615"
    );
    assert_eq!(
        refused(|frame| frame[56..64].copy_from_slice(&u64::MAX.to_le_bytes())),
        "a frame of 104 bytes came where its head needs 18446744073709551615"
    );
}

#[test]
fn a_control_frame_goes_to_its_stretch() {
    let frame = write_control(3, b"hello");
    assert_eq!(address(&frame), Ok(Address::Control { stretch: 3 }));
    assert_eq!(read_control(&frame), Ok(&b"hello"[..]));
    let mut other = frame.clone();
    other[4] = 2;
    assert_eq!(address(&other), Err(WireError::Version { found: 2 }));
    let mut other = frame;
    other[6] = 1;
    assert!(read_control(&other).is_err());
}

#[test]
fn a_link_names_what_is_wrong_with_a_frame() {
    let (_source, stop) = stop_channel();
    let mut worlds = world::in_process(2).into_iter();
    let (below, above) = (worlds.next().unwrap(), worlds.next().unwrap());
    let ranks = Ranks {
        world: above,
        placement: Placement::even(2, 2).unwrap(),
        stretch: 1,
        format: Format::F32,
    };
    let ends = Transport::<Values>::connect(&ranks, Hop::above(0), ROOM, &stop).unwrap();
    let mut upper = ends.upper.unwrap();
    let waits = thread::spawn(move || upper.receive(Lane::Activation));
    let mut broken = frame();
    broken.push(1);
    below.post(1, broken);
    let error = waits.join().unwrap().expect_err("it is no frame");
    assert_eq!(
        error.to_string(),
        "on the activation lane a frame of 105 bytes came where its head needs 104"
    );
}

#[test]
fn a_tensor_that_cannot_cross_is_named() {
    let content = |tensor| Message {
        header: header(Lane::Gradient),
        content: Content::Payload(tensor),
    };
    let gone = carried(content(Values(vec![1], vec![13.0])), Format::F32);
    assert_eq!(
        gone.unwrap_err().to_string(),
        "a tensor of the gradient lane cannot cross to another process: the device is gone"
    );
    let flat = carried(content(Values(vec![1; 9], vec![1.0])), Format::F32);
    assert_eq!(
        flat.unwrap_err().to_string(),
        "a tensor of the gradient lane cannot cross to another process: a tensor of 9 sides does not fit a frame, which holds 8"
    );
}

#[test]
fn frames_wait_for_their_receiver_and_old_ones_are_dropped() {
    let mut worlds = world::in_process(2).into_iter();
    let (first, second) = (worlds.next().unwrap(), worlds.next().unwrap());
    let (seen_in, seen) = std::sync::mpsc::channel();
    for number in 0..3 {
        first.post(1, write_control(2, &[number]));
    }
    let receiver = std::sync::Arc::new(move |from: usize, frame: Vec<u8>| {
        seen_in
            .send((from, read_control(&frame).unwrap().to_vec()))
            .unwrap();
    });
    second.open(Address::Control { stretch: 2 }, receiver.clone());
    first.post(1, write_control(2, &[3]));
    let found: Vec<_> = seen.try_iter().collect();
    let expected: Vec<_> = (0..4_u8).map(|number| (0, vec![number])).collect();
    assert_eq!(found, expected);

    second.forget_before(5);
    first.post(1, write_control(4, &[4]));
    second.open(Address::Control { stretch: 4 }, receiver.clone());
    first.post(1, write_control(4, &[5]));
    assert_eq!(seen.try_iter().count(), 0, "of a stretch that is over");
    second.open(Address::Control { stretch: 5 }, receiver);
    first.post(1, write_control(5, &[6]));
    assert_eq!(seen.try_iter().count(), 1);
    second.close(Address::Control { stretch: 5 });
    first.post(1, write_control(5, &[7]));
    assert_eq!(seen.try_iter().count(), 0);
}
