//! PDF files made here, good and hostile ones.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use aura_core::{Code, limits};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

use crate::support::Tools;

/// A file of these objects, numbered from 1, of which the first is the catalogue.
fn pdf(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut table = String::from("0000000000 65535 f \n");
    for (number, object) in objects.iter().enumerate() {
        let _ = writeln!(table, "{:010} 00000 n ", file.len());
        file.extend_from_slice(format!("{} 0 obj\n", number + 1).as_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let (at, size) = (file.len(), objects.len() + 1);
    let end = format!(
        "xref\n0 {size}\n{table}trailer\n<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{at}\n%%EOF\n"
    );
    file.extend_from_slice(end.as_bytes());
    file
}

fn stream(dict: &str, content: &[u8]) -> Vec<u8> {
    let mut object = format!("<< {dict} /Length {} >>\nstream\n", content.len()).into_bytes();
    object.extend_from_slice(content);
    object.extend_from_slice(b"\nendstream");
    object
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    stream("/Filter /FlateDecode", &encoder.finish().unwrap())
}

/// A document with a page for each content stream, and these objects after the first three.
fn document(contents: &[Vec<u8>], more: &[Vec<u8>], resources: &str) -> Vec<u8> {
    let first = 4 + more.len();
    let page = |at: usize| first + 2 * at;
    let kids: Vec<_> = (0..contents.len()).map(|at| format!("{} 0 R", page(at))).collect();
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), kids.len()).into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_vec(),
    ];
    objects.extend_from_slice(more);
    for (at, content) in contents.iter().enumerate() {
        let page = format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R \
             /Resources << /Font << /F1 3 0 R >> {resources} >> >>",
            page(at) + 1
        );
        objects.push(page.into_bytes());
        objects.push(content.clone());
    }
    pdf(&objects, "")
}

fn text(content: &str) -> Vec<u8> {
    stream("", content.as_bytes())
}

async fn read(file: &[u8]) -> Result<Value, (Code, String)> {
    let args = json!({"pdf": STANDARD.encode(file)});
    let done = Tools::local().call("text.extract", args).await;
    done.map(|done| done.output).map_err(|failed| {
        assert!(failed.failure.certain, "{}", failed.failure);
        (failed.failure.code, failed.failure.message)
    })
}

async fn pages(file: &[u8]) -> Vec<String> {
    let output = read(file).await.unwrap();
    let pages = output["pages"].as_array().unwrap().iter();
    pages.map(|page| page["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn text_comes_by_page_with_lines_and_blanks() {
    let first = "BT /F1 12 Tf 72 720 Td (Lease of 12 March) Tj 0 -14 Td [(Rent: )-20(1,200)] TJ ET \
                 BT /F1 12 Tf 1 0 0 1 72 600 Tm (See https://rent.test now) Tj ET";
    let second = "q 1 0 0 1 0 100 cm BT /F1 10 Tf 12 TL 72 500 Td (caf\\351) Tj T* (Second) Tj \
                  [-900 (line)] TJ (next) ' ET Q";
    let file = document(&[text(first), packed(second.as_bytes())], &[], "");
    let output = read(&file).await.unwrap();
    assert_eq!(
        output["pages"],
        json!([
            {"page": 1, "text": "Lease of 12 March\nRent: 1,200\nSee https://rent.test now"},
            {"page": 2, "text": "caf\u{e9}\nSecond line\nnext"},
        ])
    );
    assert_eq!(output["links"][0]["url"], "https://rent.test");
    assert_eq!((&output["words"], &output.get("unread_pages")), (&json!(13), &None));
}

#[tokio::test]
async fn fonts_with_tables_and_forms_are_read() {
    // The frame that the format asks of such a table, with its name and its end.
    let map = "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n\
               /CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n\
               1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n\
               2 beginbfchar\n<0001> <0054>\n<0002> <00FC>\nendbfchar\n\
               1 beginbfrange\n<0010> <0012> <0061>\nendbfrange\n\
               endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend";
    let more = [
        stream("", map.as_bytes()),
        b"<< /Type /Font /Subtype /Type0 /Encoding /Identity-H /ToUnicode 4 0 R >>".to_vec(),
        stream(
            "/Type /XObject /Subtype /Form /Resources << /Font << /F2 5 0 R >> >>",
            b"BT /F2 12 Tf 72 700 Td <00010002001000110012> Tj ET",
        ),
    ];
    let content = text("BT /F1 12 Tf 72 720 Td (above) Tj ET /Fm Do");
    let file = document(&[content], &more, "/XObject << /Fm 6 0 R >>");
    assert_eq!(pages(&file).await, ["above\nT\u{fc}abc"]);
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let image = text("q 100 0 0 100 0 0 cm /Im Do Q");
    let scanned = document(&[image.clone(), image], &[], "");
    let (code, what) = read(&scanned).await.unwrap_err();
    assert_eq!(code, Code::InvalidInput);
    assert!(what.contains("none of its 2 pages has text") && what.contains("OCR"), "{what}");

    let catalogue = || b"<< /Type /Catalog /Pages 2 0 R >>".to_vec();
    for name in ["/Encrypt", "/Encr#79pt"] {
        let encrypted =
            pdf(&[catalogue(), b"<< /Filter /Standard >>".to_vec()], &format!("{name} 2 0 R"));
        let (code, what) = read(&encrypted).await.unwrap_err();
        assert!(code == Code::InvalidInput && what.contains("encrypted"), "{what}");
    }
    for broken in [&b"%PDF-1.7\n"[..], b"%PDF-1.7\nxref\n0 1\ntrailer <<", b"no pdf", b""] {
        let (code, what) = read(broken).await.unwrap_err();
        assert_eq!(code, Code::InvalidInput, "{what}");
    }
    let both = json!({"pdf": "", "text": ""});
    for args in [json!({}), both, json!({"pdf": "*"})] {
        let failure = Tools::local().call("text.extract", args).await.unwrap_err().failure;
        assert_eq!(failure.code, Code::InvalidInput);
    }
}

#[tokio::test]
async fn a_page_that_unpacks_to_too_much_is_left_out() {
    let bomb = packed(&vec![b' '; limits::PDF_STREAM_BYTES + 1]);
    let good = text("BT /F1 12 Tf 72 720 Td (good) Tj ET");
    let output = read(&document(&[bomb.clone(), good], &[], "")).await.unwrap();
    assert_eq!((&output["unread_pages"], &output["pages"][0]["page"]), (&json!([1]), &json!(2)));
    let (code, what) = read(&document(&[bomb], &[], "")).await.unwrap_err();
    assert!(
        code == Code::InvalidInput && what.contains("1 of its 1 pages can't be read"),
        "{what}"
    );
}

#[tokio::test]
async fn hostile_files_end_within_their_limits() {
    // An array of millions of numbers: a few bytes in the file, many in memory.
    let heavy = format!("[{}]", "0 ".repeat(5 << 20)).into_bytes();
    let (code, what) = read(&document(&[text("")], &[heavy], "")).await.unwrap_err();
    assert!(code == Code::LimitExceeded && what.contains("memory"), "{code} {what}");

    // Forms that draw each other, twice each.
    let form = |next: usize| {
        let dict = format!(
            "/Type /XObject /Subtype /Form /Resources << /XObject << /A {next} 0 R >> \
             /Font << /F1 3 0 R >> >>"
        );
        stream(&dict, "/A Do ".repeat(8).as_bytes())
    };
    let nested = [form(5), form(4)];
    let file = document(&[text("/A Do")], &nested, "/XObject << /A 4 0 R >>");
    let tools = Tools::local().within(Duration::from_millis(300));
    let args = json!({"pdf": STANDARD.encode(file)});
    let code = tools.call("text.extract", args).await.unwrap_err().failure.code;
    assert_eq!(code, Code::Timeout);

    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes();
    assert!(read(&document(&[text("")], &[deep], "")).await.is_err());
    let cycle = pdf(&[b"<< /Pages 1 0 R /Kids [1 0 R] /Type /Pages >>".to_vec()], "/Prev 9");
    assert!(read(&cycle).await.is_err());
}

#[tokio::test]
async fn a_file_may_be_cut_anywhere() {
    let file = document(&[packed(b"BT /F1 12 Tf 72 720 Td (cut) Tj ET")], &[], "");
    for end in (0..file.len()).step_by(13) {
        // Whatever comes, it comes, and is certain.
        let _ = read(&file[..end]).await;
    }
}

#[tokio::test]
async fn files_are_read_below_the_roots() {
    let folder = tempfile::tempdir().unwrap();
    let file = document(&[text("BT /F1 12 Tf 72 720 Td (from a file) Tj ET")], &[], "");
    std::fs::write(folder.path().join("a.pdf"), file).unwrap();
    std::fs::write(folder.path().join("a.md"), "# Title").unwrap();
    let mut tools = Tools::local();
    let refused = tools.call("text.extract", json!({"path": "a.pdf"})).await.unwrap_err().failure;
    assert_eq!(refused.code, Code::Forbidden);
    tools.permissions.roots = vec![folder.path().to_str().unwrap().to_owned()];
    let done = tools.call("text.extract", json!({"path": "a.pdf"})).await.unwrap().output;
    assert_eq!(done["pages"][0]["text"], "from a file");
    let done = tools.call("text.extract", json!({"path": "a.md"})).await.unwrap().output;
    assert_eq!((&done["headings"][0]["text"], done.get("pages")), (&json!("Title"), None));
    let outside = tools.call("text.extract", json!({"path": "../a.pdf"})).await.unwrap_err();
    assert_eq!(outside.failure.code, Code::Forbidden);
}
