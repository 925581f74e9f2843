//! Each kind of image under its extension, whatever the Content-Type says; what is of no known kind is stored, too.

use crate::case::assert_consistent;
use sandbox::images::{jpeg, png};
use sandbox::workspace::Workspace;

#[test]
fn every_kind_is_known_by_its_first_bytes_and_stored_byte_for_byte() {
    let dicom = [vec![0; 128], b"DICM".to_vec(), vec![1; 500]].concat();
    let body = |head: &[u8]| [head, &[7; 2000]].concat();
    let kinds: [(&str, Vec<u8>); 14] = [
        ("jpg", jpeg(1, 3000)),
        ("png", png(1, 20, 20)),
        ("webp", body(b"RIFF\x10\0\0\0WEBPVP8 ")),
        ("gif", body(b"GIF89a\x01\0")),
        ("heic", body(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")),
        ("heic", body(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic")),
        ("avif", body(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf")),
        ("tif", body(b"II*\0\x08\0\0\0")),
        ("tif", body(b"MM\0*\0\0\0\x08")),
        ("bmp", body(b"BM\x36\0\x0c\0\0\0\0\0\x36\0\0\0")),
        ("pdf", body(b"%PDF-1.7\n")),
        ("dcm", dicom),
        ("bin", body(b"PK\x03\x04")),
        ("bin", body(b"plain words of nobody")),
    ];
    for said in ["application/octet-stream", "binary/octet-stream"] {
        let workspace = Workspace::new();
        let mut manifest = "org,note,image\n".to_owned();
        for (n, (_, bytes)) in kinds.iter().enumerate() {
            workspace.sandbox.add_image("o", "n", &format!("i{n}"), bytes.clone(), said);
            manifest.push_str(&format!("o,n,i{n}\n"));
        }
        workspace.manifest(&manifest);
        let ran = workspace.run(&[]).assert_code(0);
        assert_consistent(&workspace, &ran, |line| {
            vec![kinds[line["image"][1..].parse::<usize>().expect("a number")].1.clone()]
        });
        for (line, (extension, _)) in workspace.report().iter().zip(&kinds) {
            assert!(line["path"].ends_with(&format!(".{extension}")), "{line:?}");
            let unknown = *extension == "bin";
            assert_eq!(line["warning"].contains("no known image format"), unknown, "{line:?}");
            let end = matches!(*extension, "jpg" | "png");
            assert_eq!(line["checked_by"].contains("image-end"), end, "{line:?}");
        }
    }
}

#[test]
fn the_content_type_names_what_the_bytes_do_not() {
    let workspace = Workspace::new();
    workspace.sandbox.add_image("o", "n", "lies", jpeg(1, 3000), "image/png");
    workspace.sandbox.add_image("o", "n", "helps", vec![7; 3000], "image/webp");
    let document = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    workspace.sandbox.add_image(
        "o",
        "n",
        "document",
        [b"PK\x03\x04".to_vec(), vec![7; 99]].concat(),
        document,
    );
    workspace.manifest("org,note,image\no,n,lies\no,n,helps\no,n,document\n");
    workspace.run(&[]).assert_code(0);
    let paths: Vec<_> = workspace.report().iter().map(|line| line["path"].clone()).collect();
    assert_eq!(paths, ["data/o/n/lies.jpg", "data/o/n/helps.webp", "data/o/n/document.bin"]);
    assert!(workspace.report()[1]["warning"].contains("no known image format"));
}
