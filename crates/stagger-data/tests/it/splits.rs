//! Which folders are the splits and the classes, what is set aside where there is no split for it, and what is said of
//! other layouts.

use std::fs;

use image::{GrayImage, Luma};
use stagger_data::OpenOptions;

use crate::support::{Folder, content};

#[test]
fn splits_have_several_names() {
    for (train, test) in [
        ("train", "valid"),
        ("Train", "Val"),
        ("training", "validation"),
        ("TRAINING", "Testing"),
        ("train", "TEST"),
    ] {
        let folder = Folder::ordinary();
        fs::rename(folder.path("train"), folder.path("x")).unwrap();
        fs::rename(folder.path("x"), folder.path(train)).unwrap();
        fs::rename(folder.path("val"), folder.path("x")).unwrap();
        fs::rename(folder.path("x"), folder.path(test)).unwrap();
        let account = folder.account(&folder.open());
        let expected =
            format!("4 images to train on ({train}), 2 to evaluate on ({test}), 2 classes");
        assert_eq!(account, expected);
    }
}

/// The best weights are chosen by a validation set where there is one, and the test set is kept for the end.
#[test]
fn validation_goes_before_test() {
    let folder = Folder::ordinary();
    fs::rename(folder.path("val"), folder.path("valid")).unwrap();
    let without = folder.open();
    assert!(without.final_test.is_none());
    // Of another size than the others: that of the run does not depend on it.
    let large = GrayImage::from_pixel(8, 8, Luma([90]));
    fs::create_dir_all(folder.path("test/b")).unwrap();
    large.save(folder.path("test/b/1.png")).unwrap();
    let split = folder.open();
    assert_eq!(content(&*split.test), [(0, 30), (1, 30)]);
    assert_eq!(content(&*split.final_test.clone().unwrap()), [(1, 90)]);
    assert_eq!(split.train.fingerprint(), without.train.fingerprint());
    insta::assert_snapshot!(folder.account(&split), @"4 images to train on (train), 2 to evaluate on (valid), 1 to test on at the end (test), 2 classes");
    let in_memory = OpenOptions {
        cache_bytes: 6 * 3 * 16,
        ..folder.options()
    };
    let split = folder.open_with(&in_memory).unwrap();
    let resident = [
        &split.train,
        &split.test,
        split.final_test.as_ref().unwrap(),
    ];
    assert_eq!(resident.map(|set| set.resident_bytes()), [192, 96, 0]);

    // Its classes are those of training.
    folder.picture("test/c/1.png", 1);
    insta::assert_snapshot!(folder.message(), @"DIR/test/c is a class of the evaluation images, but no folder of that name holds images to train on; put images of it into DIR/train/c, or take its folder away");
    folder.picture("Testing/a/1.png", 90);
    insta::assert_snapshot!(folder.message(), @"image-folder: DIR/test and DIR/Testing are both names for the same part of the images; keep one of them, and rename or move the other");
}

/// Images to test on that are of no class, as those of competitions, are none to test on.
#[test]
fn a_test_set_without_classes_is_not_used() {
    for name in ["test/1.png", "test/unknown/1.png"] {
        let folder = Folder::ordinary();
        folder.picture(name, 90);
        folder.file("test/ids.csv", "");
        let split = folder.open();
        assert!(split.final_test.is_none());
        assert_eq!(
            folder.account(&split),
            "4 images to train on (train), 2 to evaluate on (val), 2 classes; test is not used, as its \
                    images are in no folder of a class"
        );
    }
}

#[test]
fn a_single_folder_within_may_hold_the_splits() {
    let folder = Folder::new();
    folder.folder("notes");
    fs::rename(Folder::ordinary().0.keep(), folder.path("top")).unwrap();
    assert_eq!(folder.open().train.len(), 4);
    fs::rename(Folder::ordinary().0.keep(), folder.path("second")).unwrap();
    assert!(
        folder
            .message()
            .contains("2 folders in it hold such images")
    );
    // Only one of them is complete.
    fs::remove_dir_all(folder.path("second/val")).unwrap();
    assert_eq!(folder.open().train.len(), 4);
}

/// Sentences on everything that is not laid out as splits and classes.
#[test]
fn other_layouts_are_told_what_to_do() {
    let mut sentences = Vec::new();
    let mut say = |what: &str, sentence: String| sentences.push(format!("{what}:\n  {sentence}"));

    say("nothing", Folder::new().message());
    let folder = Folder::ordinary();
    fs::remove_dir_all(folder.path("val")).unwrap();
    say("no val", folder.message());
    let folder = Folder::ordinary();
    fs::remove_dir_all(folder.path("train")).unwrap();
    say("no train", folder.message());
    say(
        "no train, set aside",
        folder.message_with(&folder.set_aside(0.1, 1)),
    );
    let folder = Folder::new();
    folder.picture("top/train/a/1.png", 1);
    say("no val, one level below", folder.message());
    let folder = Folder::ordinary();
    folder.picture("Validation/a/1.png", 1);
    say("two folders to evaluate on", folder.message());
    say("a folder to evaluate on, and set aside", {
        let folder = Folder::ordinary();
        folder.message_with(&folder.set_aside(0.1, 1))
    });

    let folder = Folder::new();
    folder.picture("blue/1.png", 1);
    folder.picture("red/deep/1.png", 1);
    say("classes only", folder.message());
    let folder = Folder::new();
    folder.picture("pictures/1.png", 1);
    say("one folder", folder.message());
    let folder = Folder::new();
    folder.picture("pictures/blue/1.png", 1);
    folder.picture("pictures/red/1.png", 1);
    say("one folder of classes", folder.message());
    let folder = Folder::new();
    folder.picture("1.png", 1);
    say("pictures only", folder.message());
    say(
        "pictures only, set aside",
        folder.message_with(&folder.set_aside(0.1, 1)),
    );

    let folder = Folder::ordinary();
    fs::remove_dir_all(folder.path("val")).unwrap();
    folder.picture("val/ILSVRC2012_val_00000001.JPEG", 1);
    folder.picture("val/ILSVRC2012_val_00000002.JPEG", 1);
    say("val without classes", folder.message());
    let folder = Folder::ordinary();
    fs::remove_dir_all(folder.path("train")).unwrap();
    folder.picture("train/1.png", 1);
    say("train without classes", folder.message());
    let folder = Folder::ordinary();
    fs::remove_dir_all(folder.path("val")).unwrap();
    folder.folder("val/a");
    folder.folder("val/b");
    say("nothing in val", folder.message());
    let folder = Folder::ordinary();
    folder.picture("val/c/1.png", 1);
    say("a class in val only", folder.message());
    folder.picture("val/d/1.png", 1);
    say("two classes in val only", folder.message());
    let folder = Folder::ordinary();
    folder.picture("val/c/1.png", 1);
    folder.folder("train/c");
    say("nothing in the class to train on", folder.message());
    let folder = Folder::new();
    folder.picture("a/1.png", 1);
    folder.picture("b/1.png", 1);
    say(
        "one of each class, set aside",
        folder.message_with(&folder.set_aside(0.1, 1)),
    );
    insta::assert_snapshot!("layouts", sentences.join("\n"));
}

#[cfg(unix)]
#[test]
fn a_split_that_is_a_link_to_nowhere_is_named() {
    let folder = Folder::ordinary();
    fs::remove_dir_all(folder.path("val")).unwrap();
    folder.link("/no/such", "val");
    insta::assert_snapshot!(folder.message(), @"image-folder: DIR/train is there, but DIR/val is a link that leads nowhere; put images to evaluate on into DIR/val/CLASS, or set a tenth of those to train on aside with --val-split 0.1");

    let folder = Folder::ordinary();
    folder.picture("val/c/1.png", 1);
    folder.link("/no/such", "train/c");
    insta::assert_snapshot!(folder.message(), @"DIR/val/c is a class of the evaluation images, but no folder of that name holds images to train on; DIR/train/c is a link that leads nowhere: mend it");
}

#[test]
fn class_names_in_two_unicode_forms_are_one_class() {
    let folder = Folder::new();
    for (split, name) in [("train", "caf\u{e9}"), ("val", "cafe\u{301}")] {
        folder.picture(&format!("{split}/{name}/1.png"), 1);
        folder.picture(&format!("{split}/z/1.png"), 2);
    }
    let split = folder.open();
    // In the order and the form of the folders in train.
    assert_eq!(split.train.class_names(), ["caf\u{e9}", "z"]);
    assert_eq!(content(&*split.test), [(0, 1), (1, 2)]);
}

#[test]
fn names_that_look_alike_are_shown() {
    let mut sentences = Vec::new();
    for (train, val) in [
        ("cat", "Cat"),
        ("cat", "cat "),
        ("cat\u{200b}", "cat"),
        ("cat\n", "cat"),
        ("a b", "a\u{a0}b"),
        ("Caf\u{e9}", "cafe\u{301}"),
    ] {
        let folder = Folder::ordinary();
        folder.picture(&format!("train/{train}/1.png"), 1);
        folder.picture(&format!("val/{val}/1.png"), 1);
        sentences.push(folder.message());
    }
    for (one, other) in [("cat", "cat "), ("caf\u{e9}", "cafe\u{301}")] {
        let folder = Folder::ordinary();
        folder.picture(&format!("train/{one}/1.png"), 1);
        folder.picture(&format!("train/{other}/1.png"), 1);
        sentences.push(folder.message());
    }
    insta::assert_snapshot!("look_alike", sentences.join("\n"));

    // Letters are classes, large and small ones.
    let folder = Folder::ordinary();
    folder.picture("train/A/1.png", 1);
    assert_eq!(folder.open().train.class_names(), ["A", "a", "b"]);
}

#[test]
fn a_share_of_each_class_is_set_aside() {
    let folder = Folder::new();
    for (class, images) in [("many", 40), ("some", 10), ("two", 2), ("one", 1)] {
        for number in 0..images {
            folder.picture(&format!("{class}/{number:02}.png"), number);
        }
    }
    let split = |seed| folder.open_with(&folder.set_aside(0.1, seed)).unwrap();
    let first = split(1);
    insta::assert_snapshot!(folder.account(&first), @"47 images to train on and 6 to evaluate on (both from DIR), 4 classes, 3 of them to evaluate on");
    let (train, test) = (content(&*first.train), content(&*first.test));
    let counts = |images: &[(usize, u8)]| {
        let of = |label| images.iter().filter(|image| image.0 == label).count();
        [0, 1, 2, 3].map(of)
    };
    assert_eq!(counts(&train), [36, 1, 9, 1]);
    assert_eq!(counts(&test), [4, 0, 1, 1]);
    let mut all = [train.clone(), test.clone()].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 53, "no image is in both parts");
    assert!(train.is_sorted() && test.is_sorted());

    let (again, other) = (split(1), split(2));
    assert_eq!(content(&*again.test), test);
    assert_eq!(again.train.fingerprint(), first.train.fingerprint());
    assert_ne!(content(&*other.test), test);
    assert_ne!(other.train.fingerprint(), first.train.fingerprint());
}

#[test]
fn images_to_train_on_can_be_set_aside() {
    let folder = Folder::ordinary();
    fs::rename(folder.path("val"), folder.path("test")).unwrap();
    let split = folder.open_with(&folder.set_aside(0.5, 1)).unwrap();
    insta::assert_snapshot!(folder.account(&split), @"2 images to train on and 2 to evaluate on (both from train), 2 to test on at the end (test), 2 classes");

    // All by itself and without folders in it, `train` is a class.
    let folder = Folder::new();
    for class in ["bus", "train"] {
        folder.picture(&format!("{class}/1.png"), 1);
        folder.picture(&format!("{class}/2.png"), 2);
    }
    let split = folder.open_with(&folder.set_aside(0.5, 1)).unwrap();
    assert_eq!(split.train.class_names(), ["bus", "train"]);

    // As the splits, the classes may be in the only folder within.
    let outer = Folder::new();
    fs::rename(folder.0.keep(), outer.path("pictures")).unwrap();
    let split = outer.open_with(&outer.set_aside(0.5, 1)).unwrap();
    insta::assert_snapshot!(outer.account(&split), @"2 images to train on and 2 to evaluate on (both from pictures), 2 classes");
}
