//! Writes the seeds of binary formats to `corpus/`: `cargo run -p stagger-fuzz-targets --example seeds`.
//!
//! Seeds of text formats are written by hand.
#![allow(clippy::disallowed_methods, reason = "its files are its own")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use stagger::data::image_folder::decode_image;
use stagger::engine::{HostTensor, StageState};
use stagger::report::snapshot::{FileEntry, Manifest, SNAPSHOT_FORMAT, encode_stage};
use stagger::report::{Weights, encode_weights};
use stagger::runtime::snapshot::{
    KeptLesson, KeptPass, PipelineState, RunningMean, Sent, StageSnapshot, SynthesisState,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    idx()?;
    cifar()?;
    cifar_python()?;
    jpegs()?;
    pngs()?;
    other_pictures()?;
    weights()?;
    stage_files()?;
    manifest()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> Outcome<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

/// A seed that is refused would lead nowhere, and encoders write what the parser may not take.
fn write_image(name: &str, bytes: &[u8]) -> Outcome<()> {
    decode_image(bytes, [4, 4], &mut [0; 3 * 4 * 4])?;
    write("images", name, bytes)
}

fn gzip(bytes: &[u8]) -> Outcome<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn idx() -> Outcome<()> {
    let file = |words: &[u32], data: &[u8]| {
        let header: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        [&header, data].concat()
    };
    let pixels: Vec<u8> = (0..2 * 6 * 5).collect();
    let images = file(&[0x0803, 2, 6, 5], &pixels);
    let labels = file(&[0x0801, 4], &[0, 9, 3, 3]);
    write("idx", "images", &images)?;
    write("idx", "images.gz", &gzip(&images)?)?;
    write("idx", "labels", &labels)?;
    write("idx", "labels.gz", &gzip(&labels)?)?;
    let rows: Vec<u8> = [3_u32, 71, 9, 72]
        .iter()
        .flat_map(|n| n.to_be_bytes())
        .collect();
    write("idx", "rows", &file(&[0x0c02, 2, 2], &rows))
}

fn cifar() -> Outcome<()> {
    let record = |labels: &[u8]| {
        let pixels = (0..3072_u32).map(|i| (i / 128) as u8);
        labels.iter().copied().chain(pixels).collect::<Vec<u8>>()
    };
    write("cifar", "cifar10-1", &record(&[9]))?;
    write("cifar", "cifar10-2", &[record(&[0]), record(&[5])].concat())?;
    write(
        "cifar",
        "cifar100-2",
        &[record(&[19, 99]), record(&[0, 7])].concat(),
    )
}

/// As Python 2 and Python 3 write them.
fn cifar_python() -> Outcome<()> {
    let pixels: Vec<u8> = (0..3072_u32).map(|i| (i / 128) as u8).collect();
    let dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb";
    let python2 = [
        &b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x01M\x00\x0ct"[..],
        dtype,
        b"\x89T\x00\x0c\x00\x00",
        &pixels,
        b"tbU\x06labels]K\x09aU\x0bfine_labels]K\x63au.",
    ];
    write("cifar_python", "python2-protocol2", &python2.concat())?;
    // With a buffer that can be changed.
    let python3 = [
        &b"\x80\x05}\x94(C\x04data\x94\x8c\x13numpy._core.numeric\x8c\x0b_frombuffer\x93(\x96"[..],
        &3072_u64.to_le_bytes(),
        &pixels,
        b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02u1\x89\x88\x87R(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
        b"K\x01M\x00\x0c\x86\x8c\x01CtRC\x06labels\x94]\x94K\x05au.",
    ];
    write("cifar_python", "python3-protocol5", &python3.concat())?;
    let encoded =
        b"(dp0\nc_codecs\nencode\np1\n(Vlabel_names\nVlatin1\ntR(lp2\nS'a\\x62c'\naVd\\u0065\nas.";
    write("cifar_python", "names-protocol0", encoded)?;
    let names = b"\x80\x02}(U\x10fine_label_names](U\x05appleU\x04beareu.";
    write("cifar_python", "names-protocol2", names)
}

/// A smooth picture with an edge, so that there are coefficients of all kinds.
fn colour(x: u32, y: u32) -> [u8; 3] {
    let edge = if x > y { 90 } else { 0 };
    [(x * 9) as u8, (y * 7) as u8 + edge, (x * y) as u8]
}

fn jpegs() -> Outcome<()> {
    let (width, height) = (19_u16, 17_u16);
    let rgb = RgbImage::from_fn(width.into(), height.into(), |x, y| Rgb(colour(x, y)));
    let grey = GrayImage::from_fn(width.into(), height.into(), |x, y| Luma([colour(x, y)[2]]));
    let encode = |name: &str, is_grey: bool, change: &dyn Fn(&mut Encoder<&mut Vec<u8>>)| {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 60);
        change(&mut encoder);
        let (pixels, kind) = match is_grey {
            true => (grey.as_raw(), ColorType::Luma),
            false => (rgb.as_raw(), ColorType::Rgb),
        };
        encoder.encode(pixels, width, height, kind)?;
        write_image(name, &bytes)
    };
    encode("baseline.jpg", false, &|_| {})?;
    encode("grey.jpg", true, &|_| {})?;
    encode("progressive.jpg", false, &|encoder| {
        encoder.set_progressive(true)
    })?;
    encode("grey-progressive.jpg", true, &|encoder| {
        encoder.set_progressive(true)
    })?;
    let sampled =
        |factor| move |encoder: &mut Encoder<&mut Vec<u8>>| encoder.set_sampling_factor(factor);
    encode("all-chroma.jpg", false, &sampled(SamplingFactor::F_1_1))?;
    encode("quarter-chroma.jpg", false, &sampled(SamplingFactor::F_4_1))?;
    encode("restart.jpg", false, &|encoder| {
        encoder.set_restart_interval(2)
    })
}

fn pngs() -> Outcome<()> {
    let rgb = RgbImage::from_fn(9, 7, |x, y| Rgb(colour(x, y)));
    let grey = GrayImage::from_fn(9, 7, |x, y| Luma([colour(x, y)[0]]));
    let rgba = RgbaImage::from_fn(5, 4, |x, y| {
        let [r, g, b] = colour(x, y);
        Rgba([r, g, b, 200])
    });
    let deep = DynamicImage::ImageRgb8(rgb.clone()).into_rgb16();
    let images: [(&str, DynamicImage); 4] = [
        ("rgb", rgb.into()),
        ("grey", grey.into()),
        ("rgba", rgba.into()),
        ("deep", deep.into()),
    ];
    for (name, image) in images {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
        write_image(&format!("{name}.png"), &bytes)?;
    }
    Ok(())
}

fn other_pictures() -> Outcome<()> {
    let picture = DynamicImage::from(RgbImage::from_fn(9, 7, |x, y| Rgb(colour(x, y))));
    for (ending, format) in [
        ("bmp", ImageFormat::Bmp),
        ("gif", ImageFormat::Gif),
        ("tiff", ImageFormat::Tiff),
        ("webp", ImageFormat::WebP),
    ] {
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), format)?;
        write_image(&format!("rgb.{ending}"), &bytes)?;
    }
    Ok(())
}

fn tensor(value: f32) -> Outcome<HostTensor> {
    Ok(HostTensor::new(vec![2, 1], vec![value, -value])?)
}

fn state(value: f32) -> Outcome<StageState> {
    Ok(StageState {
        tensors: BTreeMap::from([
            ("conv1.weight".to_owned(), tensor(value)?),
            (
                "optimizer.conv1.weight.momentum_buffer".to_owned(),
                tensor(value + 1.0)?,
            ),
        ]),
        counters: BTreeMap::from([("bn1.num_batches_tracked".to_owned(), 7)]),
    })
}

fn weights() -> Outcome<()> {
    let metadata = BTreeMap::from([("model".to_owned(), "resnet8".to_owned())]);
    let weights = Weights {
        metadata,
        state: state(1.5)?,
    };
    let bytes = encode_weights(&weights)?;
    write("weights", "f32", &bytes)?;
    let header = String::from_utf8(bytes[8..8 + usize::from(bytes[0])].to_vec())?;
    for (dtype, size) in [("F16", 2), ("BF16", 2), ("F64", 8)] {
        let header = header
            .replace("F32", dtype)
            .replace("[8,16]", &format!("[8,{}]", 8 + 2 * size));
        let data = vec![0x3c; 8 + 2 * size];
        let length = (header.len() as u64).to_le_bytes();
        write(
            "weights",
            &dtype.to_lowercase(),
            &[&length, header.as_bytes(), &data].concat(),
        )?;
    }
    write("weights", "empty", &encode_weights(&Weights::default())?)
}

fn stage_files() -> Outcome<()> {
    let empty = StageSnapshot {
        state: state(0.5)?,
        pipeline: PipelineState::default(),
        replicas: Vec::new(),
    };
    write("stage_file", "nothing-in-flight", &encode_stage(&empty)?)?;
    let sent = |batch, value| -> Outcome<Sent> {
        Ok(Sent {
            batch,
            micro: 0,
            version: batch,
            tensor: tensor(value)?,
        })
    };
    let kept = KeptPass {
        batch: 5,
        micro: 1,
        version: 4,
        input: tensor(3.0)?,
        weights: Some(vec![tensor(4.0)?, tensor(5.0)?]),
        position: Some(vec![tensor(6.0)?]),
    };
    let stale = StageSnapshot {
        state: StageState::default(),
        pipeline: PipelineState {
            kept: vec![kept],
            sent_up: vec![sent(5, 8.0)?],
            sent_down: vec![sent(4, 9.0)?],
            previous_weights: Some(vec![tensor(10.0)?]),
            mean_step: RunningMean {
                mean: 0.1 + 0.2,
                count: 3,
            },
            synthesis: None,
            skipped_in_a_row: 0,
            statistics: Some(vec![tensor(17.0)?]),
        },
        replicas: vec![PipelineState {
            sent_up: vec![sent(5, 18.0)?],
            ..PipelineState::default()
        }],
    };
    write("stage_file", "in-flight", &encode_stage(&stale)?)?;
    let lesson = KeptLesson {
        batch: 4,
        micro: 0,
        output: tensor(11.0)?,
        weights: vec![tensor(12.0)?],
    };
    let synthesis = SynthesisState {
        state: state(13.0)?,
        scale: RunningMean {
            mean: 1e-300,
            count: 20,
        },
        lessons: vec![lesson],
    };
    let synthetic = StageSnapshot {
        state: StageState::default(),
        pipeline: PipelineState {
            synthesis: Some(synthesis),
            ..PipelineState::default()
        },
        replicas: Vec::new(),
    };
    write("stage_file", "synthesizer", &encode_stage(&synthetic)?)
}

fn manifest() -> Outcome<()> {
    let file = |stage| FileEntry {
        name: format!("stage-{stage}.safetensors"),
        size_bytes: 1000,
        crc32: "01234567".to_owned(),
    };
    let manifest = Manifest {
        format_version: SNAPSHOT_FORMAT,
        version: 500,
        batches: 1000,
        stagger: "0.1.0".to_owned(),
        commit: Some("0123abc".to_owned()),
        model: "resnet8".to_owned(),
        schedule: "dsp(1,0;2,0)".to_owned(),
        cut: vec![2, 3],
        seed: 1,
        engine: "cpu".to_owned(),
        dtype: "f32".to_owned(),
        dataset: "shapes".to_owned(),
        data_fingerprint: "0123456789abcdef".to_owned(),
        data: vec![],
        class_names: vec!["circle".to_owned(), "square".to_owned()],
        test_top1: Some(0.1 + 0.2),
        config: "seed = 1\n".to_owned(),
        progress: serde_json::json!({ "loss_sum": 0.1 + 0.2, "best": [7, null], "on": true }),
        metrics: None,
        files: vec![file(0), file(1)],
    };
    write("manifest", "two-stages", &manifest.encode()?)?;
    let one = Manifest {
        cut: vec![5],
        files: vec![file(0)],
        test_top1: None,
        ..manifest
    };
    write("manifest", "one-stage", &one.encode()?)
}
