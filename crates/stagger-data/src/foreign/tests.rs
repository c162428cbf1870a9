use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

fn refused<T>(result: io::Result<T>) -> String {
    let error = result.err().expect("an error");
    assert!(Unfit::is_cause_of(&error), "{error}");
    error.to_string()
}

#[cfg(target_os = "linux")]
#[test]
fn what_never_ends_is_refused_at_once() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let socket = folder.path().join("socket");
    let _bound = UnixListener::bind(&socket).unwrap();
    for (path, what) in [
        (pipe.as_path(), "a pipe"),
        (&socket, "a socket"),
        (Path::new("/dev/zero"), "a device"),
    ] {
        let sentence = format!("it is {what} and not a regular file; put the file itself there");
        assert_eq!(refused(open(path, 9)), sentence);
        assert_eq!(refused(append(path)), sentence);
        // Looked at again once it is open: it may have come to be there since the first look.
        let reopened = opened(path, false, 9).map_err(|error| match error.raw_os_error() {
            // A socket is not opened at all.
            Some(_) => Unfit::Kind { found: what }.into_error(),
            None => error,
        });
        assert_eq!(refused(reopened), sentence);
    }
    let link = folder.path().join("link");
    symlink("/dev/zero", &link).unwrap();
    assert!(refused(open(&link, 9)).starts_with("it is a device"));
    assert!(refused(open_inside(&link, 9)).contains("leads out of its folder, to /dev/zero"));
    assert!(refused(open_inside(&pipe, 9)).starts_with("it is a pipe"));
}

#[test]
fn a_file_is_read_up_to_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    fs::write(&path, "abc").unwrap();
    assert_eq!(text(&path, 3).unwrap(), "abc");
    assert_eq!(
        refused(read(&path, 2)),
        "it has 3 bytes and at most 2 were expected"
    );
    // It grows after it was opened.
    let file = open(&path, 4).unwrap();
    let mut writer = File::options().append(true).open(&path).unwrap();
    writer.write_all(b"de").unwrap();
    assert_eq!(
        refused(file.bytes()),
        "it has 5 bytes and at most 4 were expected"
    );
    // A hole of a file that claims more than there is memory.
    writer.set_len(1 << 40).unwrap();
    assert!(refused(read(&path, 1 << 20)).contains("has 1099511627776 bytes"));
    // A file without a length, as those of the system are.
    #[cfg(target_os = "linux")]
    assert!(
        !text(Path::new("/proc/self/status"), 1 << 20)
            .unwrap()
            .is_empty()
    );
    let error = open(folder.path(), 9).expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::IsADirectory);
    let error = open(&folder.path().join("none"), 9).expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn links_stay_inside_a_folder_of_a_run() {
    let top = tempfile::tempdir().unwrap();
    let run = top.path().join("run");
    fs::create_dir_all(run.join("deep")).unwrap();
    fs::write(top.path().join("secret"), "s").unwrap();
    fs::write(run.join("deep/x"), "x").unwrap();
    symlink("deep/x", run.join("in")).unwrap();
    symlink("../secret", run.join("out")).unwrap();
    symlink("nowhere", run.join("broken")).unwrap();
    symlink(&run, top.path().join("alias")).unwrap();
    assert_eq!(text_inside(&run.join("in"), 9).unwrap(), "x");
    assert!(refused(read_inside(&run.join("out"), 9)).contains("leads out of its folder"));
    // The folder itself may be named by a link.
    let alias = top.path().join("alias");
    assert_eq!(text_inside(&alias.join("in"), 9).unwrap(), "x");
    assert!(refused(read_inside(&alias.join("out"), 9)).contains("leads out of its folder"));
    // What the user has named may lie anywhere.
    assert_eq!(text(&run.join("out"), 9).unwrap(), "s");
    assert!(is_there(&run.join("broken")) && !is_there(&run.join("none")));
}

#[test]
fn nothing_is_written_through_a_link() {
    let top = tempfile::tempdir().unwrap();
    let foreign = top.path().join("foreign");
    fs::write(&foreign, "theirs").unwrap();
    let link = top.path().join("link");
    for target in ["foreign", "nowhere"] {
        symlink(target, &link).unwrap();
        assert!(refused(append(&link)).contains("nothing is written or removed through one"));
        // The system refuses it, too, where it came to be a link after the first look.
        assert!(no_links(File::options().append(true).create(true), &link).is_err());
        fs::remove_file(&link).unwrap();
    }
    assert!(!top.path().join("nowhere").exists());
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "theirs");
    append(&foreign).unwrap().write_all(b" and ours").unwrap();
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "theirs and ours");
    append(&link).unwrap().write_all(b"new").unwrap();
    assert_eq!(fs::read_to_string(&link).unwrap(), "new");
    assert!(append(top.path()).is_err());
    symlink(".", top.path().join("here")).unwrap();
    assert!(refused(refuse_folder_link(&top.path().join("here"))).contains("--output"));
    refuse_folder_link(top.path()).unwrap();
    folder(&top.path().join("here"))
        .unwrap()
        .sync_all()
        .unwrap();
    assert!(folder(&foreign).is_err());
}
