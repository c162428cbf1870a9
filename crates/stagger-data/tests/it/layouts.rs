//! Data sets as they are downloaded: the Python version of CIFAR, archives, and folders that say what they hold.

use std::fs;
use std::path::{Path, PathBuf};

use stagger_data::{OpenOptions, Split, open, recognise};
use tempfile::TempDir;

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, inner: &str) -> PathBuf {
        self.0.path().join(inner)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn options(&self, folder: &str) -> OpenOptions {
        OpenOptions {
            data_dir: Some(self.path(folder)),
            ..OpenOptions::default()
        }
    }

    fn open(&self, name: &str, folder: &str) -> Split {
        open(name, &self.options(folder))
            .unwrap_or_else(|error| panic!("{name} in {folder}: {error}"))
    }

    fn refused(&self, name: &str, folder: &str) -> String {
        let error = open(name, &self.options(folder)).unwrap_err();
        self.without_top(error.to_string())
    }

    fn without_top(&self, text: String) -> String {
        text.replace(&self.0.path().display().to_string(), "TOP")
    }

    /// What a folder is taken for, or why not.
    fn taken(&self, folder: &str) -> String {
        match recognise(&self.options(folder)) {
            Ok(found) => found.name.to_owned(),
            Err(error) => self.without_top(error.to_string()),
        }
    }
}

/// Images whose bytes are `label + 100`, as `pickle.dump` of Python 3 writes a dictionary with numpy 2 in protocol 4.
fn python(labels: &[u8], key: &str) -> Vec<u8> {
    let text = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
    let number = |number: usize| [&b"J"[..], &(number as u32).to_le_bytes()].concat();
    let pixels: Vec<u8> = labels
        .iter()
        .flat_map(|&label| vec![label + 100; 3072])
        .collect();
    [
        &b"\x80\x04}\x94(C\x04data\x94"[..],
        &text("numpy._core.multiarray"),
        &text("_reconstruct"),
        b"\x93\x94",
        &text("numpy"),
        &text("ndarray"),
        b"\x93\x94K\x00\x85C\x01b\x87R(K\x01",
        &number(labels.len()),
        &number(3072),
        b"\x86",
        &text("numpy"),
        &text("dtype"),
        b"\x93\x94",
        &text("u1"),
        b"\x89\x88\x87R(K\x03",
        &text("|"),
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89B",
        &(pixels.len() as u32).to_le_bytes(),
        &pixels,
        b"tb",
        &[b'C', key.len() as u8],
        key.as_bytes(),
        b"](",
        &labels
            .iter()
            .flat_map(|&label| [b'K', label])
            .collect::<Vec<u8>>(),
        b"eu.",
    ]
    .concat()
}

/// The same in the binary version; without a coarse label.
fn binary(labels: &[u8]) -> Vec<u8> {
    let record = |&label: &u8| [vec![label], vec![label + 100; 3072]].concat();
    labels.iter().flat_map(record).collect()
}

fn names(key: &str, names: &[&str]) -> Vec<u8> {
    let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let names: Vec<u8> = names.iter().flat_map(|name| text(name)).collect();
    [&b"\x80\x02}("[..], &text(key), b"](", &names, b"eu."].concat()
}

const NAMES: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

fn put_python(bench: &Bench, folder: &str) {
    for number in 1..=5 {
        bench.write(
            &format!("{folder}/data_batch_{number}"),
            &python(&[number, 9], "labels"),
        );
    }
    bench.write(&format!("{folder}/test_batch"), &python(&[3], "labels"));
    bench.write(
        &format!("{folder}/batches.meta"),
        &names("label_names", &NAMES),
    );
}

fn put_binary(bench: &Bench, folder: &str) {
    for number in 1..=5 {
        bench.write(
            &format!("{folder}/data_batch_{number}.bin"),
            &binary(&[number, 9]),
        );
    }
    bench.write(&format!("{folder}/test_batch.bin"), &binary(&[3]));
    bench.write(
        &format!("{folder}/batches.meta.txt"),
        NAMES.join("\n").as_bytes(),
    );
}

#[test]
fn both_versions_of_cifar_hold_the_same() {
    let bench = Bench::new();
    put_binary(&bench, "binary/cifar-10-batches-bin");
    put_python(&bench, "python/cifar-10-batches-py");
    put_python(&bench, "kaggle/archive/CIFAR-10-Python/cifar-10-batches-py");
    let expected = bench.open("cifar10", "binary");
    assert!(expected.account().is_empty());
    for folder in ["python", "python/cifar-10-batches-py", "kaggle"] {
        let split = bench.open("cifar10", folder);
        for (found, expected) in [
            (&split.train, &expected.train),
            (&split.test, &expected.test),
        ] {
            assert_eq!(found.fingerprint(), expected.fingerprint(), "{folder}");
            assert_eq!(found.class_names(), expected.class_names());
            assert_eq!(found.len(), expected.len());
        }
        assert_eq!((split.train.label(0), split.train.label(1)), (1, 9));
        assert!(split.account().is_empty());
    }
    // The text beside it has the names, too.
    fs::remove_file(bench.path("python/cifar-10-batches-py/batches.meta")).unwrap();
    assert_eq!(bench.open("cifar10", "python").train.class_names()[3], "3");
    bench.write(
        "python/cifar-10-batches-py/batches.meta.txt",
        NAMES.join("\n").as_bytes(),
    );
    assert_eq!(
        bench.open("cifar10", "python").train.class_names()[3],
        "cat"
    );
    bench.write(
        "python/cifar-10-batches-py/batches.meta",
        &names("label_names", &["a", "b"]),
    );
    insta::assert_snapshot!(bench.refused("cifar10", "python"), @"TOP/python/cifar-10-batches-py/batches.meta names 2 classes, expected 10");
}

#[test]
fn cifar100_is_read_in_the_python_version() {
    let bench = Bench::new();
    bench.write(
        "top/cifar-100-python/train",
        &python(&[99, 0], "fine_labels"),
    );
    bench.write("top/cifar-100-python/test", &python(&[7], "fine_labels"));
    for folder in ["top", "top/cifar-100-python"] {
        let split = bench.open("cifar100", folder);
        assert_eq!((split.train.label(0), split.test.label(0)), (99, 7));
        assert_eq!(split.train.class_names()[99], "99");
        assert_eq!(bench.taken(folder), "cifar100");
    }
    let all: Vec<String> = (0..100).map(|i| format!("thing {i}")).collect();
    let all: Vec<&str> = all.iter().map(|name| &**name).collect();
    bench.write(
        "top/cifar-100-python/meta",
        &names("fine_label_names", &all),
    );
    assert_eq!(
        bench.open("cifar100", "top").train.class_names()[99],
        "thing 99"
    );
    bench.write("top/cifar-100-python/test", &python(&[7], "labels"));
    insta::assert_snapshot!(bench.refused("cifar100", "top"), @"TOP/top/cifar-100-python/test: it is a pickle without the entry `fine_labels`; fetch the file again");
    insta::assert_snapshot!(bench.refused("cifar10", "top"), @r#"cifar10: TOP/top does not hold data_batch_1.bin (2, 3, …) and test_batch.bin: it looks like --dataset cifar100; get the "CIFAR-10 binary version" or the "CIFAR-10 python version" from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and name its folder with --data-dir"#);
}

#[test]
fn what_of_cifar_is_missing_is_told() {
    let bench = Bench::new();
    put_python(&bench, "d");
    fs::remove_file(bench.path("d/data_batch_3")).unwrap();
    let split = bench.open("cifar10", "d");
    assert_eq!(split.train.len(), 8);
    insta::assert_snapshot!(split.account().join("\n"), @"4 of 5 training batches; data_batch_3 is not there");
    put_binary(&bench, "d");
    let split = bench.open("cifar10", "d");
    assert_eq!(split.train.len(), 10);
    insta::assert_snapshot!(bench.without_top(split.account().join("\n")), @"the binary version is read; the other one, in TOP/d, is not used");
    let whole = fs::read(bench.path("d/data_batch_2")).unwrap();
    for number in 1..=5 {
        fs::remove_file(bench.path(&format!("d/data_batch_{number}.bin"))).unwrap();
    }
    bench.write("d/data_batch_2", &whole[..4000]);
    insta::assert_snapshot!(bench.refused("cifar10", "d"), @"TOP/d/data_batch_2: its pickle is damaged or cut short; fetch the file again");
    put_python(&bench, "two/a");
    put_python(&bench, "two/b");
    insta::assert_snapshot!(bench.refused("cifar10", "two"), @"cifar10: TOP/two holds several sets of such files, a, b; name one of them, such as --data-dir TOP/two/a");
}

#[test]
fn archives_are_told_only_where_the_files_are_not() {
    let bench = Bench::new();
    bench.write("d/cifar-10-python.tar.gz", &[]);
    bench.write("p/pictures.zip", &[]);
    let says = |name, folder, command: &str| {
        let message = bench.refused(name, folder);
        assert!(message.contains(command), "{message}");
    };
    says(
        "cifar10",
        "d",
        "`tar xf TOP/d/cifar-10-python.tar.gz -C TOP/d` and use --data-dir TOP/d",
    );
    says(
        "cifar10",
        "d/cifar-10-python.tar.gz",
        "`tar xf TOP/d/cifar-10-python.tar.gz -C TOP/d` and",
    );
    says(
        "image-folder",
        "p",
        "`unzip -q TOP/p/pictures.zip -d TOP/p/pictures`",
    );
    says(
        "image-folder",
        "p/pictures.zip",
        "`unzip -q TOP/p/pictures.zip -d TOP/p/pictures`",
    );
    assert!(
        bench
            .refused("cifar100", "d")
            .contains("neither there nor in the folders below")
    );
    assert!(
        bench
            .taken("d")
            .contains("`tar xf TOP/d/cifar-10-python.tar.gz -C TOP/d`")
    );
    bench.write("p/notes.txt", &[]);
    assert!(
        bench
            .refused("image-folder", "p/notes.txt")
            .contains(": it is a file; put each")
    );
    // What has been unpacked is read.
    put_python(&bench, "d/cifar-10-batches-py");
    assert_eq!(bench.open("cifar10", "d").train.len(), 10);
    assert_eq!(bench.taken("d"), "cifar10");
}

#[test]
fn folders_say_what_they_hold() {
    let bench = Bench::new();
    put_binary(&bench, "c10/cifar-10-batches-bin");
    for (folder, files) in [
        (
            "emnist",
            &[
                "emnist-letters-train-images-idx3-ubyte",
                "emnist-letters-train-labels-idx1-ubyte",
                "emnist-letters-test-images-idx3-ubyte",
                "emnist-letters-test-labels-idx1-ubyte",
            ],
        ),
        (
            "root/FashionMNIST/raw",
            &[
                "train-images-idx3-ubyte",
                "train-labels-idx1-ubyte",
                "t10k-images-idx3-ubyte",
                "t10k-labels-idx1-ubyte",
            ],
        ),
        (
            "digits",
            &[
                "train-images-idx3-ubyte",
                "train-labels-idx1-ubyte",
                "t10k-images-idx3-ubyte",
                "t10k-labels-idx1-ubyte",
            ],
        ),
    ] {
        for file in files {
            bench.write(&format!("{folder}/{file}"), &[]);
        }
    }
    bench.write("q/qmnist-train-images-idx3-ubyte.gz", &[]);
    for class in ["a", "b"] {
        for split in ["train", "val"] {
            bench.write(&format!("pictures/{split}/{class}/1.png"), &[]);
        }
        bench.write(&format!("flat/{class}/1.jpg"), b"\xff\xd8\xff\xe0");
    }
    for (folder, name) in [
        ("c10", "cifar10"),
        ("emnist", "emnist"),
        ("emnist/letters", "emnist"),
        ("root", "fashion-mnist"),
        ("digits", "mnist"),
        // Not all of it: opening it says what is missing.
        ("q", "qmnist"),
        ("pictures", "image-folder"),
    ] {
        assert_eq!(bench.taken(folder), name, "{folder}");
    }
    let note = |folder| bench.without_top(recognise(&bench.options(folder)).unwrap().note);
    insta::assert_snapshot!(note("emnist"), @"TOP/emnist is taken for --dataset emnist, by its files");
    insta::assert_snapshot!(note("digits"), @"TOP/digits is taken for --dataset mnist, by its files, though its files have the same names as those of fashion-mnist and kmnist");
    insta::assert_snapshot!(bench.taken("."), @"TOP/. holds the files of several data sets, cifar10, emnist, fashion-mnist, mnist, image-folder; choose one with --dataset");
    assert!(
        bench
            .taken("flat")
            .contains("set a tenth of each aside for evaluation with --val-split 0.1")
    );
    let aside = OpenOptions {
        val_split: Some(stagger_data::ValSplit {
            share: 0.5,
            seed: 1,
        }),
        ..bench.options("flat")
    };
    assert_eq!(recognise(&aside).unwrap().name, "image-folder");
    fs::create_dir(bench.path("empty")).unwrap();
    insta::assert_snapshot!(bench.taken("empty"), @"no data set is named, and TOP/empty holds none that is known by its files: neither pictures in train/CLASS and val/CLASS, nor the files of CIFAR-10 or CIFAR-100 (binary or Python version), MNIST, Fashion-MNIST, EMNIST, KMNIST or QMNIST; name the folder that holds them, or the data set with --dataset");
    assert!(bench.taken("nowhere").ends_with("there is no such folder"));
    bench.write("file", &[]);
    assert!(
        bench
            .taken("file")
            .ends_with("it is a file: name the folder that holds the files")
    );
}

/// A folder of class folders that happen to be called as files of CIFAR-100 are.
#[test]
fn folders_called_train_are_no_pickles() {
    let bench = Bench::new();
    bench.write("d/train/a/1.png", &[]);
    bench.write("d/test/a/1.png", &[]);
    assert_eq!(bench.taken("d"), "image-folder");
    bench.write("t/train", b"1,2,3\n");
    bench.write("t/test", b"1,2,3\n");
    assert!(bench.taken("t").starts_with("no data set is named"));
    assert!(Path::new(&bench.path("t/train")).is_file());
}
