//! Which files of a folder become images, what is left out, and what is said of both.

use std::fs;

use stagger_data::{DataError, LeftOut, LeftOutReason, OpenOptions};

use crate::support::{Folder, content};

#[cfg(unix)]
#[test]
fn every_file_is_accounted_for() {
    let folder = Folder::ordinary();
    folder.file("train/a/notes.txt", "notes");
    folder.file("train/b/0.pdf", "not a picture");
    folder.file("val/a/Thumbs.db", "");
    folder.picture("train/a/.3.png", 1);
    folder.file("val/.DS_Store", "");
    folder.picture("train/.cache/x/1.png", 1);
    folder.link("/no/such", "train/a/gone.png");
    folder.link("/no/such", "val/c");
    folder.link("self", "train/b/self");
    folder.link("..", "train/b/up");
    folder.folder("train/empty/deep");
    folder.file("train/labels.csv", "");
    folder.picture("train/loose.png", 1);
    folder.picture("test/a/1.png", 1);
    let _socket = std::os::unix::net::UnixListener::bind(folder.path("train/a/socket")).unwrap();

    // Seven may have been meant as images, one more than are used.
    assert!(folder.open_with(&folder.options()).is_err());
    let options = OpenOptions {
        allow_left_out: true,
        ..folder.options()
    };
    let split = folder.open_with(&options).unwrap();
    insta::assert_snapshot!("account", folder.account(&split));
    assert_eq!(content(&*split.train), [(0, 10), (0, 20), (1, 10), (1, 20)]);

    let inventory = split.inventory.unwrap();
    assert_eq!((inventory.classes, inventory.folder), (2, folder.path("")));
    let train = inventory.train.clone().unwrap();
    let parts = [&train, &inventory.test].map(|part| (part.images, part.classes));
    assert_eq!(parts, [(4, 2), (2, 2)]);
    let tested = inventory.final_test.as_ref().unwrap();
    assert_eq!((tested.images, &tested.folder), (1, &folder.path("test")));
    let of = |reason: LeftOutReason, count: usize, example: &str| LeftOut {
        reason,
        count,
        example: folder.path(example),
    };
    assert_eq!(
        inventory.left_out,
        [
            of(LeftOutReason::OtherFormat, 3, "train/a/notes.txt"),
            of(LeftOutReason::Hidden, 3, "train/.cache"),
            of(LeftOutReason::Unreadable, 1, "train/a/socket"),
            of(LeftOutReason::DanglingLink, 2, "train/a/gone.png"),
            of(LeftOutReason::LinkLoop, 2, "train/b/self"),
            of(LeftOutReason::EmptyClass, 1, "train/empty"),
            of(LeftOutReason::OutsideClasses, 2, "train/labels.csv"),
        ]
    );
}

/// Names, order and fingerprints of a set that is in order are what they always were.
#[test]
fn a_set_in_order_is_as_it_was() {
    let folder = Folder::ordinary();
    let split = folder.open();
    insta::assert_snapshot!(folder.account(&split), @"4 images to train on (train), 2 to evaluate on (val), 2 classes");
    assert_eq!(split.train.class_names(), ["a", "b"]);
    assert_eq!(content(&*split.train), [(0, 10), (0, 20), (1, 10), (1, 20)]);
    assert_eq!(content(&*split.test), [(0, 30), (1, 30)]);
    let fingerprints = [&split.train, &split.test].map(|set| format!("{:016x}", set.fingerprint()));
    assert_eq!(fingerprints, ["7a51ccef70e3c93c", "0e01069c980c86bb"]);
}

#[test]
fn content_decides_what_is_an_image() {
    let folder = Folder::ordinary();
    folder.picture("train/a/3.jpg", 30);
    folder.picture("train/a/4", 40);
    folder.picture("train/a/5.txt", 50);
    folder.file("train/a/6.html", "a web page");
    folder.file("train/a/7", "");
    let split = folder.open();
    let greys: Vec<u8> = content(&*split.train).iter().map(|image| image.1).collect();
    assert_eq!(greys, [10, 20, 30, 40, 50, 10, 20]);
    insta::assert_snapshot!(folder.account(&split), @"7 images to train on (train), 2 to evaluate on (val), 2 classes; left out: 2 files of other formats (such as train/a/6.html)");
    for (content, reason) in [
        ("a web page", "it does not start like a picture"),
        ("", "the file is empty"),
    ] {
        folder.file("train/a/6.PNG", content);
        let message = folder.message();
        assert!(
            message.contains("train/a/6.PNG does not decode") && message.contains(reason),
            "{message}"
        );
    }
}

/// As `sorted(os.walk(…))` of Python, by which torchvision goes.
#[test]
fn class_folders_are_searched_to_any_depth() {
    let folder = Folder::ordinary();
    for (name, grey) in [
        ("m/k/0", 33),
        ("m-x/1", 32),
        ("m/1", 31),
        ("z", 30),
        ("n/o/p/q/0", 34),
    ] {
        folder.picture(&format!("train/a/{name}.png"), grey);
    }
    let split = folder.open();
    let greys: Vec<u8> = content(&*split.train).iter().map(|image| image.1).collect();
    assert_eq!(greys, [10, 20, 30, 31, 32, 33, 34, 10, 20]);

    // The folders within a class are part of what the data are.
    fs::rename(folder.path("train/a/m-x"), folder.path("train/a/m-y")).unwrap();
    assert_ne!(folder.open().train.fingerprint(), split.train.fingerprint());
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_name_the_class() {
    let store = Folder::ordinary();
    let folder = Folder::new();
    folder.link(store.path("val"), "val");
    folder.link(store.path("train/b"), "train/a");
    folder.picture("train/b/1.png", 70);
    folder.link(store.path("train/a/2.png"), "train/b/2.link");
    folder.link(store.path("train/a"), "train/b/more");
    let split = folder.open();
    assert_eq!(
        content(&*split.train),
        [(0, 10), (0, 20), (1, 70), (1, 20), (1, 10), (1, 20)]
    );
    assert_eq!(content(&*split.test), [(0, 30), (1, 30)]);
    insta::assert_snapshot!(folder.account(&split), @"6 images to train on (train), 2 to evaluate on (val), 2 classes");
}

#[cfg(unix)]
#[test]
fn loops_of_links_end() {
    let folder = Folder::ordinary();
    // To the class, the split, the data; to another folder and back; and a class that is the split.
    folder.link(".", "train/a/here");
    folder.link("..", "train/a/split");
    folder.link("../..", "train/a/data");
    folder.folder("elsewhere");
    folder.picture("elsewhere/1.png", 99);
    folder.link(folder.path("train/b"), "elsewhere/back");
    folder.link(folder.path("elsewhere"), "train/b/away");
    folder.link(".", "train/whole");
    folder.link("two", "train/b/one");
    folder.link("one", "train/b/two");
    let split = folder.open();
    assert_eq!(
        content(&*split.train),
        [(0, 10), (0, 20), (1, 10), (1, 20), (1, 99)]
    );
    insta::assert_snapshot!(folder.account(&split), @"5 images to train on (train), 2 to evaluate on (val), 2 classes; left out: 7 loops of links (such as train/a/data)");
}

#[cfg(unix)]
#[test]
fn control_characters_do_not_reach_the_terminal() {
    let folder = Folder::ordinary();
    folder.file("train/a/x\n\u{1b}[2J.txt", "");
    insta::assert_snapshot!(folder.account(&folder.open()), @r"4 images to train on (train), 2 to evaluate on (val), 2 classes; left out: 1 file of another format (train/a/x\n\u{1b}[2J.txt)");
    folder.picture("val/\u{7}/1.png", 1);
    assert!(folder.message().starts_with(r"DIR/val/\u{7} is a class"));
}

#[test]
fn most_files_must_be_used() {
    let folder = Folder::ordinary();
    for number in 0..7 {
        folder.file(&format!("train/a/{number}.heic"), "heic");
    }
    insta::assert_snapshot!(folder.message(), @"image-folder: of the files in DIR only 6 can be used, and 7 are left out: 7 files of other formats (such as DIR/train/a/0.heic); convert them or take them away, or add --allow-left-out to go on without them");
    let allowed = OpenOptions {
        allow_left_out: true,
        ..folder.options()
    };
    assert_eq!(folder.open_with(&allowed).unwrap().train.len(), 4);
    // As many are not more.
    fs::remove_file(folder.path("train/a/6.heic")).unwrap();
    assert_eq!(folder.open().train.len(), 4);
}

/// Systems leave a hidden file beside every image; they are no images.
#[test]
fn hidden_files_that_are_no_images_do_not_count() {
    let folder = Folder::ordinary();
    for number in 0..9 {
        folder.file(&format!("train/a/._{number}.png"), "Mac OS X");
    }
    assert_eq!(folder.open().train.len(), 4);
    for number in 0..9 {
        folder.picture(&format!("train/a/._{number}.png"), 1);
    }
    assert!(
        folder
            .message()
            .contains("and 9 are left out: 9 hidden files")
    );
}

#[test]
fn a_class_without_an_image_is_left_out_only_if_it_is_empty() {
    let folder = Folder::ordinary();
    folder.file("train/c/.gitkeep", "");
    folder.folder("val/d");
    let split = folder.open();
    assert_eq!(split.train.class_names(), ["a", "b"]);
    insta::assert_snapshot!(folder.account(&split), @"4 images to train on (train), 2 to evaluate on (val), 2 classes; left out: 1 hidden file or folder (train/c/.gitkeep), 2 class folders without images (such as train/c)");
    folder.file("train/c/1.heic", "heic");
    folder.file("train/c/2.heic", "heic");
    insta::assert_snapshot!(folder.message(), @"class folder DIR/train/c holds no image that can be read, but 2 other files (such as DIR/train/c/1.heic); convert or replace what is there, take the folder away, or add --allow-left-out to go on without the class");
    let allowed = OpenOptions {
        allow_left_out: true,
        ..folder.options()
    };
    assert_eq!(folder.open_with(&allowed).unwrap().train.classes(), 2);
}

/// Root reads every folder, so the sentence is made by hand.
#[test]
fn a_class_folder_that_cannot_be_read_is_told() {
    let error = DataError::EmptyClass {
        path: "DIR/train/c".into(),
        files: 1,
        example: "DIR/train/c".into(),
    };
    insta::assert_snapshot!(error, @"class folder DIR/train/c cannot be read; convert or replace what is there, take the folder away, or add --allow-left-out to go on without the class");
}
