//! The recipes in `configs/` are runs that can begin, and are listed with the figures that they say.

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use stagger::{Training, config_file};

use crate::support::Bench;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The recipes below a folder, by their paths in the repository. Files of layers have blocks and are no recipes.
fn recipes(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
        let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        let path = Path::new(ROOT).join(&name);
        if path.is_dir() {
            found.extend(recipes(&name));
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        if !text.contains("[[blocks]]") {
            found.push((name, text));
        }
    }
    found.sort();
    found
}

/// A folder with a few images of a data set.
fn few_images(bench: &Bench, dataset: &str) -> PathBuf {
    let folder = bench.path(dataset);
    fs::create_dir_all(&folder).unwrap();
    match dataset {
        "cifar10" => {
            let images: Vec<u8> = (0..20 * 3073)
                .map(|at| {
                    if at % 3073 == 0 {
                        at as u8 % 10
                    } else {
                        at as u8
                    }
                })
                .collect();
            for name in ["data_batch_1.bin", "test_batch.bin"] {
                fs::write(folder.join(name), &images).unwrap();
            }
        }
        "fashion-mnist" => {
            for part in ["train", "t10k"] {
                let pixels = (0..20 * 784_u32).map(|at| at as u8);
                let images: Vec<u8> = [[0, 0, 8, 3], [0, 0, 0, 20], [0, 0, 0, 28], [0, 0, 0, 28]]
                    .into_iter()
                    .flatten()
                    .chain(pixels)
                    .collect();
                let labels: Vec<u8> = [[0, 0, 8, 1], [0, 0, 0, 20]]
                    .into_iter()
                    .flatten()
                    .chain((0..20).map(|at| at % 10))
                    .collect();
                fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
                fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
            }
        }
        "image-folder" => {
            for class in ["train/a", "train/b", "val/a", "val/b"] {
                let class = folder.join(class);
                fs::create_dir_all(&class).unwrap();
                for name in ["1.png", "2.png"] {
                    RgbImage::new(40, 30).save(class.join(name)).unwrap();
                }
            }
        }
        other => panic!("no images of {other} are made here"),
    }
    folder
}

/// All that `stagger train --config FILE --data-dir DIR` checks before it builds stages.
#[test]
fn every_recipe_can_begin() {
    let bench = Bench::new();
    let recipes = recipes("configs");
    assert!(recipes.len() > 12, "{recipes:?}");
    for (name, text) in recipes {
        let command = format!("#   stagger train --config {name} --data-dir DIR\n");
        assert!(text.contains(&command), "{name} does not say {command}");
        let mut options = config_file::read(&Path::new(ROOT).join(&name))
            .unwrap_or_else(|error| panic!("{error}"));
        let dataset = options.dataset.clone().unwrap();
        options.data_dir = Some(few_images(&bench, &dataset));
        let job = Training::new().options(options).check();
        job.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// The table of docs/training.md has a row for each recipe of a paper, with the accuracy that the recipe says.
#[test]
fn recipes_of_papers_are_listed() {
    let docs = fs::read_to_string(Path::new(ROOT).join("docs/training.md")).unwrap();
    let recipes = recipes("configs/papers");
    for (name, text) in &recipes {
        let row = docs
            .lines()
            .find(|line| line.contains(&format!("](../{name})")))
            .unwrap_or_else(|| panic!("docs/training.md does not list {name}"));
        let figure = row.split('|').nth(3).unwrap().trim();
        let comment: String = text.lines().filter(|line| line.starts_with('#')).collect();
        assert!(
            figure == "–" && comment.contains("No figure") || comment.contains(figure),
            "{name} does not say {figure}"
        );
    }
    assert_eq!(docs.matches("](../configs/papers/").count(), recipes.len());
}

/// torchvision lowers the rate of MobileNetV2 after every epoch.
#[test]
fn the_steps_of_mobilenet_are_all_there() {
    let path = Path::new(ROOT).join("configs/papers/mobilenet-v2-imagenet.toml");
    let options = config_file::read(&path).unwrap();
    let every: Vec<usize> = (1..options.epochs.unwrap()).collect();
    assert_eq!(options.lr_steps, Some(every));
}
