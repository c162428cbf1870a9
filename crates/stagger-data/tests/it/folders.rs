//! What of a folder becomes images, what is left out, and what is said of both.

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, ImageFormat, Luma};
use stagger_data::{
    DataError, Dataset, LeftOut, LeftOutReason, OpenOptions, Split, ValSplit, open,
};
use tempfile::TempDir;

/// A folder that is filled by a few words.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Two images of each of the classes `a` and `b` in `train`, and one of each in `val`.
    fn ordinary() -> Self {
        let folder = Self::new();
        for class in ["a", "b"] {
            folder.picture(&format!("train/{class}/1.png"), 10);
            folder.picture(&format!("train/{class}/2.png"), 20);
            folder.picture(&format!("val/{class}/1.png"), 30);
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A PNG of 4×4 grey pixels, whatever its name.
    fn picture(&self, name: &str, grey: u8) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image = GrayImage::from_pixel(4, 4, Luma([grey]));
        image.save_with_format(path, ImageFormat::Png).unwrap();
    }

    fn folder(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
    }

    #[cfg(unix)]
    fn link(&self, target: impl AsRef<Path>, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    fn options(&self) -> OpenOptions {
        OpenOptions {
            data_dir: Some(self.0.path().to_path_buf()),
            ..OpenOptions::default()
        }
    }

    fn set_aside(&self, share: f64, seed: u64) -> OpenOptions {
        OpenOptions {
            val_split: Some(ValSplit { share, seed }),
            ..self.options()
        }
    }

    fn open_with(&self, options: &OpenOptions) -> Result<Split, DataError> {
        open("image-folder", options)
    }

    fn open(&self) -> Split {
        self.open_with(&self.options()).unwrap()
    }

    /// The sentence of what is wrong, with the name of the folder replaced by DIR.
    fn message_with(&self, options: &OpenOptions) -> String {
        let error = self.open_with(options).unwrap_err().to_string();
        error.replace(&self.0.path().display().to_string(), "DIR")
    }

    fn message(&self) -> String {
        self.message_with(&self.options())
    }

    /// The line on what is used and what is left out.
    fn account(&self, split: &Split) -> String {
        let line = split.inventory.as_ref().unwrap().to_string();
        line.replace(&self.0.path().display().to_string(), "DIR")
    }
}

/// Label and grey level of each image.
fn content(set: &dyn Dataset) -> Vec<(usize, u8)> {
    let mut pixels = vec![0; set.shape().iter().product()];
    let mut image = |index| {
        set.image(index, &mut pixels).unwrap();
        (set.label(index), pixels[0])
    };
    (0..set.len()).map(&mut image).collect()
}

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
