//! Bars as SVG, readable on light and on dark, without any script or font of its own.

use std::fmt::Write as _;

/// One question, and a bar for each that was asked. Bars begin at 0 and are as long as their values.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
}

pub(crate) struct Bar {
    pub(crate) label: String,
    /// None: no bar, the text alone.
    pub(crate) value: Option<f64>,
    pub(crate) text: String,
}

const WIDTH: f64 = 820.0;
const MARGIN: f64 = 20.0;
/// Where bars begin; labels end before it.
const LEFT: f64 = 270.0;
/// Of the longest bar; its text comes behind it.
const LONGEST: f64 = 450.0;
const ROW: f64 = 22.0;
const HEAD: f64 = 34.0;
/// Between two panels.
const SPACE: f64 = 16.0;
/// A value that is not 0 is seen.
const SHORTEST: f64 = 1.5;

const STYLE: &str = "\
  :root { --paper: #ffffff; --ink: #1f2328; --soft: #57606a; --bar: #8c959f; --ours: #bc4c00; }
  @media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1; --bar: #656c76; --ours: #f0883e; } }
  text { font: 13px system-ui, sans-serif; fill: var(--ink); }
  .head { font-weight: 600; font-size: 14px; } .label { text-anchor: end; } .none { fill: var(--soft); }
  .paper { fill: var(--paper); } .bar { fill: var(--bar); } .ours { fill: var(--ours); }
";

/// The panels below each other; the first bar of each is ours.
pub(crate) fn svg(title: &str, panels: &[Panel]) -> String {
    let mut body = String::new();
    let mut y = MARGIN;
    for panel in panels {
        let _ = writeln!(
            body,
            "<text class=\"head\" x=\"{MARGIN}\" y=\"{}\">{}</text>",
            y + 16.0,
            escaped(&panel.title)
        );
        y += HEAD;
        let values = panel.bars.iter().filter_map(|bar| bar.value);
        let largest = values.fold(f64::MIN_POSITIVE, f64::max);
        for (number, bar) in panel.bars.iter().enumerate() {
            y = draw(&mut body, bar, number == 0, largest, y);
        }
        y += SPACE;
    }
    let height = y - SPACE + MARGIN;
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n{body}</svg>\n"
    )
}

/// Draws a bar with its label and text at a height; where the next one comes.
fn draw(body: &mut String, bar: &Bar, is_ours: bool, largest: f64, y: f64) -> f64 {
    let base = y + 13.0;
    let label = escaped(&bar.label);
    let _ = writeln!(
        body,
        "<text class=\"label\" x=\"{}\" y=\"{base}\">{label}</text>",
        LEFT - 10.0
    );
    let mut end = LEFT;
    if let Some(value) = bar.value {
        let length = value / largest * LONGEST;
        let length = if value > 0.0 {
            length.max(SHORTEST)
        } else {
            0.0
        };
        let class = if is_ours { "ours" } else { "bar" };
        let _ = writeln!(
            body,
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{length:.1}\" height=\"15\" rx=\"2\"/>",
            y + 1.0
        );
        end += length;
    }
    let class = if bar.value.is_some() {
        ""
    } else {
        " class=\"none\""
    };
    let _ = writeln!(
        body,
        "<text{class} x=\"{:.1}\" y=\"{base}\">{}</text>",
        end + 6.0,
        escaped(&bar.text)
    );
    y + ROW
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_has_all_the_room_and_what_was_not_measured_has_none() {
        let bar = |label: &str, value: Option<f64>| Bar {
            label: label.to_owned(),
            value,
            text: "text".to_owned(),
        };
        let bars = vec![
            bar("a & b", Some(0.01)),
            bar("c", Some(100.0)),
            bar("d", None),
        ];
        let panel = Panel {
            title: "t".to_owned(),
            bars,
        };
        let svg = svg("title", &[panel]);
        assert!(svg.contains("width=\"1.5\""), "a small one is seen: {svg}");
        assert!(svg.contains("width=\"450.0\""), "{svg}");
        assert!(svg.contains("a &amp; b"), "{svg}");
        assert_eq!(svg.matches("height=\"15\"").count(), 2, "{svg}");
    }
}
