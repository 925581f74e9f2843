//! The drawing: admitted requests and 429s over time, against the allowance.

use std::fmt::Write as _;
use std::time::Duration;

use crate::sim::{Case, Outcome, run};
use sandbox::limiter::{Algorithm, Rate, SendHeaders};

const WIDTH: f64 = 820.0;
const PANEL: f64 = 170.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 46.0;
/// Seconds and requests that are drawn.
const SECONDS: f64 = 24.0;
const REQUESTS: f64 = 160.0;
/// Columns of the bars, one each.
const STEP: f64 = 0.25;

/// Three panels, in colours that can be read on a light and on a dark page.
pub fn svg() -> String {
    let server =
        |headers| Rate { limit: 100, window: Duration::from_secs(3), algorithm: Algorithm::Counter, headers };
    let told = Case { phase: 0.2, ..Case::new(server(SendHeaders::Always), 650) };
    let untold = Case { phase: 0.2, ..Case::new(server(SendHeaders::Never), 650) };
    let naive = Case { naive: true, ..told.clone() };
    let panels = [
        ("the exporter, rate headers on every answer", told),
        ("the exporter, no rate headers at all", untold),
        ("a client that tries again a second after a 429", naive),
    ];
    let height = TOP + 3.0 * (PANEL + 40.0) + 10.0;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">
<title id="title">650 requests against 100 in 3 s: sent in the last 3 s, admitted and refused, over time</title>
<style>
  text {{ font: 13px sans-serif; fill: #24292f }}
  .h {{ font-weight: bold }}
  .axis {{ stroke: #8c959f; stroke-width: 1; fill: none }}
  .limit {{ stroke: #8c959f; stroke-width: 1.5; stroke-dasharray: 6 4 }}
  .admitted {{ stroke: #0969da; stroke-width: 2; fill: none }}
  .refused {{ fill: #cf222e }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #e6edf3 }}
    .admitted {{ stroke: #58a6ff }}
    .refused {{ fill: #ff7b72 }}
  }}
</style>
<text x="{LEFT}" y="18">650 requests, 100 allowed in 3 s (dashed), counted by a sliding-window counter. Simulated.</text>
<text x="{LEFT}" y="36">Line: admitted in the last 3 s. Bars: 429s in a quarter of a second.</text>
"#
    );
    for (number, (name, case)) in panels.iter().enumerate() {
        let top = TOP + 24.0 + (PANEL + 40.0) * f64::from(u32::try_from(number).unwrap_or_default());
        panel(&mut svg, name, case, &run(case), top);
    }
    svg.push_str("</svg>\n");
    svg
}

fn x(seconds: f64) -> f64 {
    LEFT + seconds / SECONDS * (WIDTH - LEFT - RIGHT)
}

fn panel(svg: &mut String, name: &str, case: &Case, outcome: &Outcome, top: f64) {
    let y = |requests: f64| top + PANEL - requests.min(REQUESTS) / REQUESTS * PANEL;
    let end = outcome.makespan().as_secs_f64();
    let refused = outcome.limited(case);
    let _ = writeln!(
        svg,
        r#"<text class="h" x="{LEFT}" y="{:.1}">{name}: {end:.1} s, {refused} × 429</text>"#,
        top - 2.0
    );
    for requests in [0.0, 50.0, 100.0, 150.0] {
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{requests}</text>"#,
            LEFT - 8.0,
            y(requests) + 4.0
        );
    }
    for seconds in (0..=24).step_by(3) {
        let at = x(f64::from(seconds));
        let _ = writeln!(
            svg,
            r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">{seconds} s</text>"#,
            top + PANEL + 16.0
        );
    }
    let _ =
        writeln!(svg, r#"<path class="axis" d="M{LEFT} {top:.1}V{:.1}H{:.1}"/>"#, top + PANEL, WIDTH - RIGHT);
    let limit = y(f64::from(case.server.limit));
    let _ = writeln!(svg, r#"<path class="limit" d="M{LEFT} {limit:.1}H{:.1}"/>"#, WIDTH - RIGHT);
    bars(svg, outcome, &y);
    line(svg, case, outcome, &y);
}

fn count(outcome: &Outcome, admitted: bool, from: f64, until: f64) -> f64 {
    let inside = outcome.seen.iter().filter(|seen| {
        let at = seen.at.as_secs_f64();
        seen.admitted == admitted && at >= from && at < until
    });
    f64::from(u32::try_from(inside.count()).unwrap_or_default())
}

fn steps(step: f64) -> impl Iterator<Item = f64> {
    (0_u32..).map(move |number| f64::from(number) * step).take_while(|at| *at < SECONDS)
}

fn bars(svg: &mut String, outcome: &Outcome, y: &impl Fn(f64) -> f64) {
    for at in steps(STEP) {
        let refused = count(outcome, false, at, at + STEP);
        if refused > 0.0 {
            let (left, width) = (x(at), x(STEP) - x(0.0) - 1.0);
            let _ = writeln!(
                svg,
                r#"<rect class="refused" x="{left:.1}" y="{:.1}" width="{width:.1}" height="{:.1}"/>"#,
                y(refused),
                y(0.0) - y(refused)
            );
        }
    }
}

fn line(svg: &mut String, case: &Case, outcome: &Outcome, y: &impl Fn(f64) -> f64) {
    let end = outcome.makespan().as_secs_f64();
    let mut path = String::new();
    for at in steps(0.05).take_while(|at| *at <= end) {
        let used = count(outcome, true, at - case.server.window.as_secs_f64(), at);
        let _ = write!(path, "{}{:.1} {:.1}", if path.is_empty() { "M" } else { "L" }, x(at), y(used));
    }
    let _ = writeln!(svg, r#"<path class="admitted" d="{path}"/>"#);
}
