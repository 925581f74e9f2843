//! Two ids never share a path, whatever they are.

use sandbox::images::jpeg;
use sandbox::workspace::Workspace;

#[test]
fn ids_that_differ_only_in_case_get_paths_that_differ_in_more() {
    let workspace = Workspace::new();
    let mut manifest = "org,note,image\n".to_owned();
    let ids =
        [("org", "note", "img"), ("org", "note", "IMG"), ("org", "NOTE", "img"), ("ORG", "note", "img")];
    for (seed, (org, note, image)) in ids.into_iter().enumerate() {
        workspace.sandbox.add_image(org, note, image, jpeg(seed as u64, 2000), "image/jpeg");
        manifest.push_str(&format!("{org},{note},{image}\n"));
    }
    workspace.manifest(&manifest);
    workspace.run(&[]).assert_code(0);
    let paths: Vec<String> =
        workspace.report().into_iter().map(|mut line| line.remove("path").expect("a path")).collect();
    assert_eq!(paths[0], "data/org/note/img.jpg", "the first keeps its name");
    let mut folded: Vec<String> = paths.iter().map(|path| path.to_lowercase()).collect();
    folded.sort();
    folded.dedup();
    assert_eq!(folded.len(), 4, "{paths:?}");
    for (seed, path) in paths.iter().enumerate() {
        assert_eq!(std::fs::read(workspace.out().join(path)).expect(path), jpeg(seed as u64, 2000));
    }
    // in another order the owners keep what they have
    workspace.manifest("org,note,image\norg,note,IMG\norg,note,img\n");
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.states(), ["skipped", "skipped"]);
    let again: Vec<String> =
        workspace.report().into_iter().map(|mut line| line.remove("path").expect("a path")).collect();
    assert_eq!(again, [paths[1].clone(), paths[0].clone()]);
    // and a lost file comes back under the same name
    std::fs::remove_file(workspace.out().join(&paths[1])).expect("removed");
    workspace.run(&[]).assert_code(0);
    assert_eq!(workspace.report()[0]["path"], paths[1]);
}

#[test]
fn names_that_file_systems_do_not_take_are_escaped() {
    let workspace = Workspace::new();
    let long = "L".repeat(250);
    let mut manifest = "org,note,image\n".to_owned();
    for (org, note, image) in [("o", "con.x", ".hidden"), ("o", "n", &*"é".repeat(120)), ("o", "n", &*long)]
    {
        workspace.sandbox.add_image(org, note, image, jpeg(image.len() as u64, 2000), "image/jpeg");
        manifest.push_str(&format!("{org},{note},{image}\n"));
    }
    workspace.manifest(&manifest);
    workspace.run(&[]).assert_code(0);
    let images = workspace.images();
    assert!(images.contains(&"data/o/=63on.x/=2Ehidden.jpg".to_owned()), "{images:?}");
    assert!(images.iter().all(|path| path.rsplit('/').next().is_some_and(|name| name.len() <= 255)));
    assert_eq!(images.len(), 3);
}
