//! Pictures of the tables, as SVG.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Outcome;
use crate::measure::Table;
use crate::stats::median;
use crate::worker::{P50, QUANTILES};

const SIZE: (u32, u32) = (960, 520);
/// What the names of the lines take of the width.
const LEGEND: u32 = 240;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A name, and points.
type Line = (String, Vec<(f64, f64)>);

/// Draws all charts for which there are figures; titles, and files in the directory.
pub fn draw(tables: &[Table], directory: &Path) -> Outcome<Vec<(String, String)>> {
    let mut drawn = Vec::new();
    let mut add = |title: &str, file: &str, drawing: &dyn Fn(&Area<'_>) -> Outcome| -> Outcome {
        let path = directory.join(file);
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        drawing(&area)?;
        area.present()?;
        drawn.push((title.to_owned(), file.to_owned()));
        Ok(())
    };
    for (prefix, what) in [("spsc-", "one a call"), ("spsc-batch-", "32 a call")] {
        let lines = by_size(tables, prefix);
        if lines.iter().any(|(_, points)| points.len() > 1) {
            let title = format!("Throughput between two processes, {what}");
            let file = format!("throughput{}.svg", if prefix == "spsc-" { "" } else { "-batch" });
            add(&title, &file, &|area| {
                let x = |size: &f64| format!("{} B", size.exp2().round());
                plot(area, &title, ("item", "million items a second"), &lines, &x)
            })?;
        }
    }
    for how in ["spin", "sleep", "adaptive"] {
        let Some(table) = tables.iter().find(|table| table.name == format!("trip-{how}")) else {
            continue;
        };
        let lines = percentiles(table);
        if lines.is_empty() {
            continue;
        }
        let title = format!("Round trip of 8 bytes, waiting: {how}");
        add(&title, &format!("latency-{how}.svg"), &|area| {
            let x = |at: &f64| {
                let quantile = QUANTILES.get(at.round() as usize).copied().unwrap_or(1.0);
                format!("{} %", (quantile * 1e6).round() / 1e4)
            };
            plot(area, &title, ("share of the trips", "nanoseconds"), &lines, &x)
        })?;
    }
    let shapes = shapes(tables);
    if shapes.iter().any(|(_, points)| points.len() > 1) {
        let title = "Many senders, many receivers, 8 bytes";
        add(title, "scaling.svg", &|area| {
            let x = |at: &f64| SHAPES.get(at.round() as usize).map_or("", |s| s).to_owned();
            plot(area, title, ("senders x receivers", "million items a second"), &shapes, &x)
        })?;
    }
    Ok(drawn)
}

const SHAPES: [&str; 5] = ["1x1", "2x2", "4x4", "4x1", "1x4"];

/// Adds a point to the line of that name.
fn point(lines: &mut Vec<Line>, name: &str, at: (f64, f64)) {
    match lines.iter_mut().find(|(known, _)| known == name) {
        Some((_, points)) => points.push(at),
        None => lines.push((name.to_owned(), vec![at])),
    }
}

fn by_size(tables: &[Table], prefix: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for table in tables {
        let Some(size) = table.name.strip_prefix(prefix).and_then(|s| s.parse::<f64>().ok()) else {
            continue;
        };
        for row in table.rows.iter().filter(|row| row.failed.is_none()) {
            let rate = median(&table.figures(row, P50)) / 1e6;
            point(&mut lines, &row.label(), (size.log2(), rate));
        }
    }
    lines
}

fn shapes(tables: &[Table]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (at, shape) in SHAPES.iter().enumerate() {
        let name = format!("mpmc-{shape}");
        let Some(table) = tables.iter().find(|table| table.name == name) else { continue };
        for row in table.rows.iter().filter(|row| row.failed.is_none()) {
            let rate = median(&table.figures(row, P50)) / 1e6;
            point(&mut lines, &row.label(), (at as f64, rate));
        }
    }
    lines
}

fn percentiles(table: &Table) -> Vec<Line> {
    let rows = table.rows.iter().filter(|row| row.failed.is_none());
    rows.map(|row| {
        let at = |q: usize| (q as f64, median(&table.figures(row, q)));
        (row.label(), (0..QUANTILES.len()).map(at).collect())
    })
    .collect()
}

/// Lines over a logarithmic y axis.
fn plot(
    area: &Area<'_>,
    title: &str,
    (x_axis, y_axis): (&str, &str),
    lines: &[Line],
    x_label: &dyn Fn(&f64) -> String,
) -> Outcome {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (left, right) = range(&mut points().map(|point| point.0));
    let (low, high) = range(&mut points().map(|point| point.1));
    let marks = (right - left).round() as usize + 1;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .margin_right(LEGEND - 35)
        .x_label_area_size(45)
        .y_label_area_size(75)
        .build_cartesian_2d(left..right, (low * 0.8..high * 1.25).log_scale())
        .map_err(|e| e.to_string())?;
    chart
        .configure_mesh()
        .label_style(("sans-serif", 15))
        .x_labels(marks)
        .x_label_formatter(x_label)
        .x_desc(x_axis)
        .y_desc(y_axis)
        .light_line_style(WHITE)
        .draw()
        .map_err(|e| e.to_string())?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let (colour, width) = match name.strip_prefix("ringpipe") {
            Some("" | "-mpmc") => (RGBColor(200, 30, 30).to_rgba(), 3),
            // Ours in another way: darker, or lighter.
            Some("-in-place") => (RGBColor(110, 0, 50).to_rgba(), 2),
            Some(_) => (RGBColor(240, 130, 110).to_rgba(), 2),
            None => (Palette99::pick(number).mix(0.8), 1),
        };
        let style = colour.stroke_width(width);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))
            .map_err(|e| e.to_string())?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::Coordinate((SIZE.0 - LEGEND) as i32, 0))
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 15))
        .draw()
        .map_err(|e| e.to_string())?;
    Ok(())
}
