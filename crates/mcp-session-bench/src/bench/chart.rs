//! The charts, as SVG.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use plotters::{
    coord::ranged1d::IntoSegmentedCoord as _,
    prelude::{
        ChartBuilder, Circle, DrawingArea, ErrorBar, IntoDrawingArea as _, IntoLogRange as _, LineSeries,
        PathElement, Rectangle, SVGBackend, SegmentValue, SeriesLabelPosition, Text,
    },
    style::{Color as _, IntoFont as _, RGBColor, WHITE},
};

use crate::{
    peer::Peer,
    results::{Results, Spread, short},
    scenarios::Scenario,
};

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

const SIZE: (u32, u32) = (760, 420);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);

/// One chart: a figure over the amount, or for one amount as bars.
struct Chart {
    file: &'static str,
    scenario: Scenario,
    metric: &'static str,
    title: &'static str,
    bars: bool,
}

fn charts() -> Vec<Chart> {
    let chart = |file, scenario, metric, title, bars| Chart { file, scenario, metric, title, bars };
    vec![
        chart("echo-rate", Scenario::Echo, "per_second", "echo: requests per second over connections", false),
        chart("echo-p50", Scenario::Echo, "p50", "echo: p50 in microseconds over connections", false),
        chart("echo-p99", Scenario::Echo, "p99", "echo: p99 in microseconds over connections", false),
        chart("echo-cpu", Scenario::Echo, "server_cpu", "echo: server processor time per request, microseconds", false),
        chart("churn", Scenario::Churn, "per_second", "sessions created and deleted per second", true),
        chart("sessions-memory", Scenario::Sessions, "bytes", "bytes of RSS per idle session over sessions", false),
        chart("sessions-rate", Scenario::Sessions, "per_second", "echo: requests per second over open sessions", false),
        chart("streams-memory", Scenario::Streams, "bytes", "bytes of RSS per open GET stream over streams", false),
        chart("events", Scenario::Events, "per_second", "events per second over streams of one session", false),
        chart("messages", Scenario::Messages, "megabytes_per_second", "echo: MB/s each way over bytes of a message", false),
        chart("shutdown-answered", Scenario::Shutdown, "answered_share", "SIGTERM: share of the running calls that got their answer", true),
        chart("shutdown-ended", Scenario::Shutdown, "ended_last", "SIGTERM: milliseconds until all GET streams had ended", true),
        chart("shutdown-scale", Scenario::ShutdownScale, "ended_last", "SIGTERM: milliseconds until all had ended, over GET streams", false),
    ]
}

/// Draws what was measured; gives the files.
pub(crate) fn draw_all(results: &Results, directory: &Path) -> Result<Vec<PathBuf>> {
    let mut drawn = Vec::new();
    for chart in charts() {
        let series = chart.series(results);
        if series.is_empty() {
            continue;
        }
        let path = directory.join(chart.file).with_extension("svg");
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        // Of the many ways that drawing can fail, only writing the file is left, and its error says so.
        let draw = if chart.bars { bars } else { lines };
        draw(&area, &chart, &series)
            .and_then(|()| area.present().map_err(|error| anyhow!("{error}")))
            .map_err(|error| error.context(format!("cannot draw {}", path.display())))?;
        drop(area);
        drawn.push(path);
    }
    Ok(drawn)
}

/// The figures of one server.
type Series = (Peer, Vec<(usize, Spread)>);

impl Chart {
    fn series(&self, results: &Results) -> Vec<Series> {
        let of = |peer: Peer| -> Vec<(usize, Spread)> {
            let xs = results.xs(self.scenario).into_iter();
            xs.filter_map(|x| Some((x, results.spread(self.scenario, peer, x, self.metric)?))).collect()
        };
        let series = results.peers(self.scenario).into_iter().map(|peer| (peer, of(peer)));
        series.filter(|(_, points)| !points.is_empty()).collect()
    }
}

fn lines(area: &Area<'_>, chart: &Chart, series: &[Series]) -> Result<()> {
    let points = || series.iter().flat_map(|(_, points)| points);
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for (x, _) in points() {
        (least, most) = (least.min(*x as f64), most.max(*x as f64));
    }
    // A figure may be zero or below, as a difference of memory can be: the axis begins at something to be seen.
    let low = points().map(|(_, it)| it.low).filter(|low| *low > 0.0).fold(f64::INFINITY, f64::min);
    let high = points().map(|(_, it)| it.high).fold(0.0, f64::max);
    let low = if low.is_finite() { low } else { 1.0 };
    area.fill(&WHITE)?;
    let mut plot = ChartBuilder::on(area)
        .caption(chart.title, (FONT, 17).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (least / 1.3..most * 1.3).log_scale(),
            (low / 1.5..(high * 1.5).max(low * 2.0)).log_scale(),
        )?;
    plot.configure_mesh()
        .light_line_style(INK.mix(0.06))
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.5))
        .label_style((FONT, 12).into_font().color(&INK))
        .x_desc(chart.scenario.unit())
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| short(*y))
        .draw()?;
    for (peer, points) in series {
        let color = peer.color();
        let at = |value: f64| value.max(low / 1.5);
        let medians = points.iter().map(|(x, it)| (*x as f64, at(it.median)));
        plot.draw_series(LineSeries::new(medians.clone(), color.stroke_width(2)))?
            .label(peer.label())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        plot.draw_series(medians.map(|at| Circle::new(at, 3, color.filled())))?;
        plot.draw_series(points.iter().filter(|(_, it)| it.low < it.high).map(|(x, it)| {
            ErrorBar::new_vertical(*x as f64, at(it.low), at(it.median), at(it.high), color.stroke_width(1), 6)
        }))?;
    }
    plot.configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(INK.mix(0.2))
        .label_font((FONT, 12).into_font().color(&INK))
        .draw()?;
    Ok(())
}

fn bars(area: &Area<'_>, chart: &Chart, series: &[Series]) -> Result<()> {
    let bars: Vec<(Peer, Spread)> =
        series.iter().filter_map(|(peer, points)| Some((*peer, points.last()?.1))).collect();
    let high = bars.iter().map(|(_, it)| it.high).fold(f64::MIN_POSITIVE, f64::max);
    area.fill(&WHITE)?;
    let mut plot = ChartBuilder::on(area)
        .caption(chart.title, (FONT, 17).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d((0..bars.len() - 1).into_segmented(), 0.0..high * 1.15)?;
    plot.configure_mesh()
        .disable_x_mesh()
        .light_line_style(INK.mix(0.06))
        .bold_line_style(INK.mix(0.15))
        .axis_style(INK.mix(0.5))
        .label_style((FONT, 12).into_font().color(&INK))
        .x_label_formatter(&|segment| match segment {
            SegmentValue::CenterOf(index) => bars.get(*index).map_or_else(String::new, |bar| bar.0.label().to_owned()),
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        })
        .y_label_formatter(&|y| short(*y))
        .draw()?;
    for (index, (peer, spread)) in bars.iter().enumerate() {
        let corners = [(SegmentValue::Exact(index), 0.0), (SegmentValue::Exact(index + 1), spread.median)];
        let mut bar = Rectangle::new(corners, peer.color().filled());
        bar.set_margin(0, 0, 18, 18);
        plot.draw_series([bar])?;
        let value = Text::new(
            spread.to_string(),
            (SegmentValue::CenterOf(index), spread.median),
            (FONT, 12).into_font().color(&INK).pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Center,
                plotters::style::text_anchor::VPos::Bottom,
            )),
        );
        plot.draw_series([value])?;
    }
    Ok(())
}
