//! Cost of one message through a hop: the pipeline must add nothing to the stages' own work.

use std::thread;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stagger_transport::{Capacities, Content, Header, Lane, Link, Message, stop_channel, threads};

const MESSAGES: usize = 1_000;

fn message(batch: usize) -> Message<Vec<f32>> {
    let header = Header {
        lane: Lane::Activation,
        batch,
        version: 0,
        micro: 0,
        sent_at: Duration::ZERO,
        mark: None,
    };
    Message {
        header,
        content: Content::Payload(Vec::new()),
    }
}

fn hop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threads");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    for activation in [0, 1, 4] {
        group.bench_function(format!("capacity {activation}"), |bencher| {
            bencher.iter(|| {
                let (_source, stop) = stop_channel();
                let (mut lower, mut upper) = threads::pair(
                    Capacities {
                        activation,
                        gradient: 1,
                    },
                    &stop,
                );
                let below = thread::spawn(move || {
                    (0..MESSAGES).for_each(|batch| lower.send(message(batch)).expect("open"));
                    lower
                });
                for _ in 0..MESSAGES {
                    upper.receive(Lane::Activation).expect("open");
                }
                below.join().expect("no panic")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hop);
criterion_main!(benches);
