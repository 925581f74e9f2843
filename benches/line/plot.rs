//! The drawing of a soak: share of the allowance, images in flight and memory over time, each in a panel of its own.
//! Its colours can be read on a light and on a dark page.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

const WIDTH: f64 = 820.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 64.0;
const PANEL: f64 = 110.0;
const GAP: f64 = 44.0;

/// A line of the CSV file.
struct Point {
    minutes: f64,
    share: f64,
    in_flight: f64,
    limited: f64,
    memory: f64,
}

/// A figure over time.
struct Panel {
    name: &'static str,
    value: fn(&Point) -> f64,
    /// The highest value that can be drawn, if it is known beforehand.
    top: Option<f64>,
    /// A value that is marked.
    mark: Option<f64>,
}

const PANELS: [Panel; 3] = [
    Panel {
        name: "share of the allowance used in the last minute, %",
        value: |point| 100.0 * point.share,
        top: Some(120.0),
        mark: Some(100.0),
    },
    Panel { name: "images in flight", value: |point| point.in_flight, top: None, mark: None },
    Panel { name: "memory, MiB", value: |point| point.memory, top: None, mark: None },
];

/// Draws the samples of the file into one beside it.
pub fn draw(csv: &Path) -> io::Result<()> {
    let text = std::fs::read_to_string(csv)?;
    let points: Vec<Point> = text.lines().skip(1).filter_map(point).collect();
    std::fs::write(csv.with_extension("svg"), svg(&points))
}

fn point(line: &str) -> Option<Point> {
    let mut numbers = line.split(',').map_while(|text| text.parse::<f64>().ok());
    let mut next = || numbers.next();
    let seconds = next()?;
    let (share, in_flight, limited, memory) = (next()?, next()?, next()?, next()?);
    Some(Point { minutes: seconds / 60.0, share, in_flight, limited, memory })
}

fn svg(points: &[Point]) -> String {
    let minutes = points.last().map_or(1.0, |point| point.minutes).max(1.0);
    let limited = points.last().map_or(0.0, |point| point.limited);
    let height = TOP + 3.0 * (PANEL + GAP);
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">
<title id="title">A run of {minutes:.0} minutes at the vendor's allowance: share used, images in flight, memory</title>
<style>
  text {{ font: 13px sans-serif; fill: #24292f }}
  .h {{ font-weight: bold }}
  .axis {{ stroke: #8c959f; stroke-width: 1; fill: none }}
  .mark {{ stroke: #8c959f; stroke-width: 1.5; stroke-dasharray: 6 4 }}
  .value {{ stroke: #0969da; stroke-width: 1.5; fill: none }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #e6edf3 }}
    .value {{ stroke: #58a6ff }}
  }}
</style>
<text class="h" x="{LEFT}" y="20">{minutes:.0} minutes at 1,000 requests in 60 s, 150 ms round trip, bodies of 2 s: {limited} × 429</text>
"#
    );
    for (number, panel) in (0_u32..).zip(PANELS) {
        draw_panel(&mut svg, &panel, points, minutes, TOP + f64::from(number) * (PANEL + GAP));
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, points: &[Point], minutes: f64, top: f64) {
    let most = points.iter().map(panel.value).fold(1.0, f64::max);
    let highest = panel.top.unwrap_or_else(|| (most / 20.0).ceil() * 20.0);
    let (bottom, right) = (top + PANEL, WIDTH - RIGHT);
    let x = |point: f64| LEFT + point / minutes * (right - LEFT);
    let y = |value: f64| bottom - value.min(highest) / highest * PANEL;
    let _ = writeln!(svg, r#"<text class="h" x="{LEFT}" y="{:.1}">{}</text>"#, top - 8.0, panel.name);
    for part in [0.0, 0.5, 1.0] {
        let value = highest * part;
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{value:.0}</text>"#,
            LEFT - 8.0,
            y(value) + 4.0
        );
    }
    for at in ticks(minutes) {
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{at} min</text>"#,
            x(f64::from(at)),
            bottom + 16.0
        );
    }
    let _ = writeln!(svg, r#"<path class="axis" d="M{LEFT} {top:.1}V{bottom:.1}H{right:.1}"/>"#);
    if let Some(mark) = panel.mark {
        let _ = writeln!(svg, r#"<path class="mark" d="M{LEFT} {:.1}H{right:.1}"/>"#, y(mark));
    }
    let mut path = String::new();
    for point in points {
        let command = if path.is_empty() { "M" } else { "L" };
        let _ = write!(path, "{command}{:.1} {:.1}", x(point.minutes), y((panel.value)(point)));
    }
    let _ = writeln!(svg, r#"<path class="value" d="{path}"/>"#);
}

/// Six parts of the time at most, in whole minutes.
fn ticks(minutes: f64) -> impl Iterator<Item = u32> {
    let step = [1_u32, 2, 5, 10, 20, 30, 60].into_iter().find(|step| minutes / f64::from(*step) <= 6.5);
    (0..).step_by(step.unwrap_or(120) as usize).take_while(move |at| f64::from(*at) <= minutes)
}
