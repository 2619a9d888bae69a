//! The text of a page: what its drawing instructions show, with line breaks and blanks where the pen moves.
//!
//! A PDF knows neither words nor lines. A move down or up is taken for a new line, a gap of a third of a blank's usual
//! width for a blank. Text stays in the order in which it is drawn.

use std::collections::BTreeMap;

use aura_core::limits;
use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Object, ObjectId};

use super::font::Font;

/// Pages within pages that are followed.
const NESTING: usize = 8;

/// Parts of the font's size: a step of this much up or down is a new line, a gap of this much a blank.
const LINE: f64 = 0.4;
const BLANK: f64 = 0.15;

/// Operations between two looks at the clock.
const OPERATIONS: usize = 256;

/// Two by two numbers and an offset, as the format has them.
#[derive(Clone, Copy)]
struct Matrix([f64; 6]);

impl Matrix {
    const ONE: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    /// First this, then the other.
    fn then(self, other: Self) -> Self {
        let (one, two) = (self.0, other.0);
        let along = |x: f64, y: f64, column: usize| x * two[column] + y * two[column + 2];
        Self([
            along(one[0], one[1], 0),
            along(one[0], one[1], 1),
            along(one[2], one[3], 0),
            along(one[2], one[3], 1),
            along(one[4], one[5], 0) + two[4],
            along(one[4], one[5], 1) + two[5],
        ])
    }

    fn moved(self, x: f64, y: f64) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y]).then(self)
    }

    fn of(operands: &[Object]) -> Option<Self> {
        let mut numbers = [0.0; 6];
        for (number, operand) in numbers.iter_mut().zip(operands.get(..6)?) {
            *number = f64::from(operand.as_float().ok()?);
        }
        Some(Self(numbers))
    }
}

/// Where the pen stood after the last character.
struct Pen {
    x: f64,
    y: f64,
    size: f64,
}

/// What `q` saves and `Q` restores.
#[derive(Clone, Copy)]
struct Graphics {
    page: Matrix,
    font: Option<usize>,
    size: f64,
    leading: f64,
    /// Horizontal scaling; 1 is none.
    scale: f64,
}

/// Reads pages of one document and keeps its fonts.
pub(super) struct Reader<'a> {
    document: &'a Document,
    /// By the place of their dictionary in memory.
    known: BTreeMap<*const Dictionary, usize>,
    fonts: Vec<Font<'a>>,
    bytes: usize,
}

/// One page, or a page within it, while it is being drawn.
struct Drawing<'a> {
    fonts: BTreeMap<Vec<u8>, &'a Dictionary>,
    resources: Vec<&'a Dictionary>,
    graphics: Graphics,
    saved: Vec<Graphics>,
    line: Matrix,
    text: Matrix,
}

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Document) -> Self {
        Self { document, known: BTreeMap::new(), fonts: Vec::new(), bytes: 0 }
    }

    /// The text of a page; `None` where its content can't be had.
    pub(super) fn page(&mut self, id: ObjectId) -> Option<String> {
        let content =
            self.document.get_page_content_with_limit(id, limits::PDF_STREAM_BYTES).ok()?;
        let (own, inherited) = self.document.get_page_resources(id).ok()?;
        let inherited = inherited.iter().filter_map(|id| self.document.get_dictionary(*id).ok());
        let resources: Vec<_> = own.into_iter().chain(inherited).collect();
        let graphics =
            Graphics { page: Matrix::ONE, font: None, size: 1.0, leading: 0.0, scale: 1.0 };
        let (mut out, mut pen) = (String::new(), None);
        self.draw(&content, resources, graphics, &mut (&mut out, &mut pen, 0));
        let text = out.trim().to_owned();
        self.bytes += text.len();
        if self.bytes > limits::TEXT_BYTES {
            super::give_up("it has too much text");
        }
        Some(text)
    }

    fn draw(
        &mut self,
        content: &[u8],
        resources: Vec<&'a Dictionary>,
        graphics: Graphics,
        out: &mut (&mut String, &mut Option<Pen>, usize),
    ) {
        let mut drawing = Drawing {
            fonts: self.named(&resources, b"Font"),
            resources,
            graphics,
            saved: Vec::new(),
            line: Matrix::ONE,
            text: Matrix::ONE,
        };
        for (count, operation) in Content::decode_iter(content).enumerate() {
            if count.is_multiple_of(OPERATIONS) {
                super::check_time();
            }
            let Ok(operation) = operation else { return };
            if operation.operator == "Do" {
                self.form(&drawing, &operation, out);
            } else if !drawing.place(&operation) {
                self.show(&mut drawing, &operation, out);
            }
            if out.0.len() > limits::TEXT_BYTES {
                super::give_up("it has too much text");
            }
        }
    }

    /// The dictionaries of one kind of resource, by name.
    fn named(
        &self,
        resources: &[&'a Dictionary],
        kind: &[u8],
    ) -> BTreeMap<Vec<u8>, &'a Dictionary> {
        let mut named = BTreeMap::new();
        for resources in resources {
            let all = resources.get_deref(kind, self.document).and_then(Object::as_dict);
            for (name, value) in all.iter().flat_map(|all| all.iter()) {
                let found = self.document.dereference(value).ok().map(|(_, object)| object);
                if let Some(dict) = found.and_then(|object| object.as_dict().ok()) {
                    named.entry(name.clone()).or_insert(dict);
                }
            }
        }
        named
    }

    fn form(
        &mut self,
        drawing: &Drawing<'a>,
        operation: &Operation,
        out: &mut (&mut String, &mut Option<Pen>, usize),
    ) {
        super::check_time();
        let Some(Ok(name)) = operation.operands.first().map(Object::as_name) else { return };
        let document = self.document;
        let found = drawing.resources.iter().find_map(|resources| {
            let all = resources.get_deref(b"XObject", document).and_then(Object::as_dict).ok()?;
            all.get_deref(name, document).and_then(Object::as_stream).ok()
        });
        let Some(stream) = found.filter(|_| out.2 < NESTING) else { return };
        if !stream.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|n| n == b"Form") {
            return;
        }
        let Ok(content) = stream.get_plain_content_with_limit(limits::PDF_STREAM_BYTES) else {
            return;
        };
        let matrix = stream.dict.get_deref(b"Matrix", document).and_then(Object::as_array).ok();
        let matrix = matrix.and_then(|numbers| Matrix::of(numbers)).unwrap_or(Matrix::ONE);
        let graphics = Graphics { page: matrix.then(drawing.graphics.page), ..drawing.graphics };
        let own = stream.dict.get_deref(b"Resources", document).and_then(Object::as_dict).ok();
        let resources = own.map_or_else(|| drawing.resources.clone(), |own| vec![own]);
        out.2 += 1;
        self.draw(&content, resources, graphics, out);
        out.2 -= 1;
    }

    fn font(&mut self, dict: &'a Dictionary) -> usize {
        let known = self.known.get(&std::ptr::from_ref(dict)).copied();
        known.unwrap_or_else(|| {
            super::check_time();
            if self.fonts.len() == limits::PDF_FONTS {
                super::give_up("it has too many fonts");
            }
            self.fonts.push(Font::new(self.document, dict));
            self.known.insert(std::ptr::from_ref(dict), self.fonts.len() - 1);
            self.fonts.len() - 1
        })
    }

    fn show(
        &mut self,
        drawing: &mut Drawing<'a>,
        operation: &Operation,
        out: &mut (&mut String, &mut Option<Pen>, usize),
    ) {
        let operands = &operation.operands;
        match operation.operator.as_str() {
            "Tf" => {
                let name = operands.first().and_then(|name| name.as_name().ok());
                let dict = name.and_then(|name| drawing.fonts.get(name).copied());
                drawing.graphics.font = dict.map(|dict| self.font(dict));
                drawing.graphics.size = number(operands, 1).unwrap_or(1.0);
            }
            "Tj" => self.pieces(drawing, operands, out),
            "TJ" => {
                let pieces = operands.first().and_then(|pieces| pieces.as_array().ok());
                self.pieces(drawing, pieces.map_or(&[], |v| v), out);
            }
            "'" => {
                drawing.next_line();
                self.pieces(drawing, operands, out);
            }
            "\"" => {
                drawing.next_line();
                self.pieces(drawing, operands.get(2..).unwrap_or(&[]), out);
            }
            _ => {}
        }
    }

    /// Shows strings, and moves the pen by the numbers between them.
    fn pieces(
        &self,
        drawing: &mut Drawing<'a>,
        pieces: &[Object],
        out: &mut (&mut String, &mut Option<Pen>, usize),
    ) {
        let Graphics { font, size, scale, .. } = drawing.graphics;
        let Some(font) = font.and_then(|font| self.fonts.get(font)) else { return };
        for piece in pieces {
            if let Ok(back) = piece.as_float() {
                let by = -f64::from(back) / 1_000.0 * size * scale;
                drawing.text = drawing.text.moved(by, 0.0);
            } else if let Object::String(codes, _) = piece {
                drawing.separate(out.0, out.1.as_ref());
                let (width, count) = font.show(codes, out.0);
                if count > 0 {
                    drawing.text = drawing.text.moved(width / 1_000.0 * size * scale, 0.0);
                    *out.1 = Some(drawing.pen());
                }
            }
        }
    }
}

impl Drawing<'_> {
    /// Obeys an operation that only moves something; says whether it was one.
    fn place(&mut self, operation: &Operation) -> bool {
        let operands = &operation.operands;
        match operation.operator.as_str() {
            "q" if self.saved.len() < limits::PDF_STATES => self.saved.push(self.graphics),
            "Q" => self.graphics = self.saved.pop().unwrap_or(self.graphics),
            "cm" => {
                let matrix = Matrix::of(operands).unwrap_or(Matrix::ONE);
                self.graphics.page = matrix.then(self.graphics.page);
            }
            "BT" => (self.line, self.text) = (Matrix::ONE, Matrix::ONE),
            "Tm" => {
                self.line = Matrix::of(operands).unwrap_or(Matrix::ONE);
                self.text = self.line;
            }
            "Td" | "TD" => {
                let (x, y) = (number(operands, 0), number(operands, 1));
                let (x, y) = (x.unwrap_or_default(), y.unwrap_or_default());
                if operation.operator == "TD" {
                    self.graphics.leading = -y;
                }
                self.line = self.line.moved(x, y);
                self.text = self.line;
            }
            "TL" => self.graphics.leading = number(operands, 0).unwrap_or_default(),
            "Tz" => self.graphics.scale = number(operands, 0).unwrap_or(100.0) / 100.0,
            "T*" => self.next_line(),
            _ => return false,
        }
        true
    }

    fn next_line(&mut self) {
        self.line = self.line.moved(0.0, -self.graphics.leading);
        self.text = self.line;
    }

    fn pen(&self) -> Pen {
        let place = self.text.then(self.graphics.page).0;
        let height = (place[2] * place[2] + place[3] * place[3]).sqrt();
        Pen { x: place[4], y: place[5], size: (self.graphics.size * height).abs() }
    }

    /// Puts a line break or a blank where the pen has moved since the last character.
    fn separate(&self, out: &mut String, last: Option<&Pen>) {
        let Some(last) = last.filter(|_| !out.is_empty() && !out.ends_with('\n')) else { return };
        let now = self.pen();
        let size = last.size.max(now.size);
        if (now.y - last.y).abs() > size * LINE {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        } else if (now.x - last.x > size * BLANK || last.x - now.x > size) && !out.ends_with(' ') {
            out.push(' ');
        }
    }
}

fn number(operands: &[Object], at: usize) -> Option<f64> {
    operands.get(at)?.as_float().ok().map(f64::from)
}
