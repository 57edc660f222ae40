use crate::helper::start;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use trajgen_rollout::environment::Exec;

/// All paths below `folder`, sorted.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for item in fs::read_dir(next).unwrap() {
            let path = item.unwrap().path();
            found.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn folders_go_in_with_modes_and_come_out_again() {
    let helper = start().await;
    let source = helper.folder.path().join("source");
    fs::create_dir_all(source.join("deep/empty")).unwrap();
    fs::write(source.join("run.sh"), "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(source.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(source.join("deep/secret"), vec![b'x'; 3_000_000]).unwrap();
    fs::set_permissions(source.join("deep/secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let long = "n".repeat(180);
    fs::write(source.join("deep").join(&long), "long").unwrap();
    symlink("/etc/passwd", source.join("link")).unwrap();
    std::os::unix::fs::chown(source.join("run.sh"), Some(1), Some(1)).unwrap();

    let inside = helper.folder.path().join("inside/made");
    let target = inside.to_str().unwrap();
    helper.guest.upload(&source, target).await.unwrap();
    assert_eq!(tree(&inside), tree(&source));
    let metadata = fs::metadata(inside.join("run.sh")).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.uid()), (0o755, 0));
    assert_eq!(fs::metadata(inside.join("deep/secret")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_link(inside.join("link")).unwrap(), Path::new("/etc/passwd"));

    let back = helper.folder.path().join("back");
    assert!(helper.guest.download(target, &back, &[]).await.unwrap());
    let mut expected = tree(&source);
    expected.retain(|path| path != "link");
    assert_eq!(tree(&back), expected);
    assert_eq!(fs::read(back.join("deep/secret")).unwrap().len(), 3_000_000);
    assert!(!helper.guest.download("/no/such/place", &back, &[]).await.unwrap());
}

#[tokio::test]
async fn an_upload_replaces_planted_links_instead_of_following_them() {
    let helper = start().await;
    let (source, inside) = (helper.folder.path().join("source"), helper.folder.path().join("inside"));
    let victim = helper.folder.path().join("victim");
    fs::create_dir(&source).unwrap();
    fs::create_dir(&inside).unwrap();
    fs::write(source.join("test.sh"), "real").unwrap();
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, inside.join("test.sh")).unwrap();
    helper.guest.upload(&source, inside.to_str().unwrap()).await.unwrap();
    assert_eq!(fs::read_to_string(inside.join("test.sh")).unwrap(), "real");
    symlink(&victim, inside.join("one")).unwrap();
    let one = inside.join("one");
    helper.guest.upload(&source.join("test.sh"), one.to_str().unwrap()).await.unwrap();
    assert_eq!(fs::read_to_string(&one).unwrap(), "real");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
}

#[tokio::test]
async fn single_files_go_to_the_path_itself_or_into_a_folder() {
    let helper = start().await;
    let root = helper.folder.path();
    fs::write(root.join("file.txt"), "content").unwrap();
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    helper.guest.upload(&root.join("file.txt"), &path("new/name.txt")).await.unwrap();
    assert_eq!(fs::read_to_string(root.join("new/name.txt")).unwrap(), "content");
    helper.guest.upload(&root.join("file.txt"), &path("new")).await.unwrap();
    assert_eq!(fs::read_to_string(root.join("new/file.txt")).unwrap(), "content");
    assert!(helper.guest.download(&path("new/name.txt"), &root.join("out/there.txt"), &[]).await.unwrap());
    assert_eq!(fs::read_to_string(root.join("out/there.txt")).unwrap(), "content");
    let missing = helper.guest.upload(&root.join("nothing"), &path("new")).await.unwrap_err();
    assert!(missing.message.contains("nothing"), "{missing}");
}

#[tokio::test]
async fn a_download_leaves_out_what_is_excluded_and_what_is_no_file() {
    let helper = start().await;
    let inside = helper.folder.path().join("inside");
    let line = format!(
        "mkdir -p {0}/a/node_modules/b {0}/logs && cd {0} && echo 1 > keep && echo 2 > a/node_modules/b/c \
         && echo 3 > logs/own.json && mkdir sub && echo 4 > sub/own.json && echo 5 > own.json && mkfifo pipe \
         && ln -s /etc/passwd link && ln -s /etc folder-link",
        inside.display()
    );
    assert!(helper.guest.exec(Exec::shell(line)).await.unwrap().success());
    let target = helper.folder.path().join("out");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("keep"), "ours").unwrap();
    let exclude = ["**/node_modules/**".to_owned(), "logs".to_owned(), "own.json".to_owned()];
    assert!(helper.guest.download(inside.to_str().unwrap(), &target, &exclude).await.unwrap());
    assert_eq!(tree(&target), ["a", "a/node_modules", "keep", "sub", "sub/own.json"]);
    assert_eq!(fs::read_to_string(target.join("keep")).unwrap(), "ours");
}

#[tokio::test]
async fn files_that_grow_while_they_are_packed_do_no_harm() {
    let helper = start().await;
    let inside = helper.folder.path().join("growing");
    fs::create_dir(&inside).unwrap();
    let line = format!("exec yes > {}/log", inside.display());
    let guest = helper.guest.clone();
    let writer = tokio::spawn(async move { guest.exec(Exec::shell(line)).await });
    while fs::metadata(inside.join("log")).map_or(0, |metadata| metadata.len()) < 100_000 {
        tokio::task::yield_now().await;
    }
    let target = helper.folder.path().join("out");
    assert!(helper.guest.download(inside.to_str().unwrap(), &target, &[]).await.unwrap());
    assert!(fs::metadata(target.join("log")).unwrap().len() >= 100_000);
    writer.abort();
    helper.guest.kill_all().await.unwrap();
}
