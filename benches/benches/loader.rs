//! Throughput of the loader: augment and normalise batches of 128 images of 32×32 pixels.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stagger_data::{Augmentation, Images, Loader, LoaderOptions, Sampler, shapes};

const BATCH: usize = 128;

fn loader(criterion: &mut Criterion) {
    let split = shapes::draw(0, 4096, 1).expect("shapes are drawn");
    let standard = Augmentation::crop(split.train.shape(), true);
    let mut group = criterion.benchmark_group("loader");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, augmentation) in [("plain", Augmentation::NONE), ("crop+flip", standard)] {
        let images = Images {
            augmentation,
            ..Images::train(&split)
        };
        for workers in [1, 2] {
            let options = LoaderOptions {
                workers,
                queue_batches: 2,
            };
            group.bench_function(format!("{name}/{workers} workers"), |bencher| {
                // Batches per second of a loader that is always waited for.
                bencher.iter_custom(|iterations| -> Duration {
                    let sampler = Sampler::new(split.train.len(), BATCH, 0).expect("sampler");
                    let batches = 0..iterations as usize;
                    let start = Instant::now();
                    let loader = Loader::start(images.clone(), sampler, batches, options)
                        .expect("threads start");
                    loader.for_each(|batch| {
                        black_box(batch.expect("a batch"));
                    });
                    start.elapsed()
                });
            });
        }
    }
    group.finish();
}

fn draw(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shapes");
    group.throughput(Throughput::Elements(1000));
    group.sample_size(20);
    group.bench_function("draw 1000 images", |bencher| {
        bencher.iter(|| black_box(shapes::draw(0, 999, 1).expect("shapes are drawn")));
    });
    group.finish();
}

criterion_group!(benches, loader, draw);
criterion_main!(benches);
