//! The charts, as SVG.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use plotters::{
    coord::{Shift, ranged1d::IntoSegmentedCoord as _},
    prelude::{
        ChartBuilder, Circle, DrawingArea, ErrorBar, IntoDrawingArea as _, IntoLogRange as _, LineSeries,
        PathElement, Rectangle, SVGBackend, SegmentValue, Text,
    },
    style::{
        Color as _, IntoFont as _, RGBColor, TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::{
    results::{Results, Spread, amount, short},
    scenarios::Scenario,
    subject::Subject,
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Width and height of a chart, and of the plot in it: the names of the servers are beside the lines.
const SIZE: (u32, u32) = (860, 400);
const PLOT: u32 = 670;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);

/// One chart: a figure over the amount, or bars for a single amount.
struct Chart {
    file: &'static str,
    scenario: Scenario,
    metric: &'static str,
    title: &'static str,
    bars: bool,
}

fn charts() -> Vec<Chart> {
    let chart = |scenario, metric, file, title, bars| Chart { file, scenario, metric, title, bars };
    let lines = |scenario, metric, file, title| chart(scenario, metric, file, title, false);
    let bars = |scenario, metric, file, title| chart(scenario, metric, file, title, true);
    vec![
        lines(Scenario::Echo, "per_second", "echo-rate", "echo: requests per second"),
        lines(Scenario::Echo, "p50", "echo-p50", "echo: p50 in microseconds"),
        lines(Scenario::Echo, "p99", "echo-p99", "echo: p99 in microseconds"),
        lines(
            Scenario::Echo,
            "server_cpu",
            "echo-cpu",
            "echo: server processor time per request, in microseconds",
        ),
        bars(Scenario::Churn, "per_second", "churn", "Sessions created and deleted per second"),
        lines(
            Scenario::Sessions,
            "resident",
            "sessions-memory",
            "Idle sessions: RSS of the server, in bytes",
        ),
        lines(Scenario::Sessions, "bytes", "session-memory", "Bytes of RSS per idle session"),
        lines(
            Scenario::Sessions,
            "per_second",
            "sessions-rate",
            "echo: requests per second, in all sessions in turn",
        ),
        lines(Scenario::Streams, "bytes", "streams-memory", "Bytes of RSS per open GET stream"),
        lines(Scenario::Events, "per_second", "events", "Events per second, on all streams of one session"),
        lines(Scenario::Messages, "megabytes_per_second", "messages", "echo: MB/s each way"),
        bars(
            Scenario::Shutdown,
            "calls_answered",
            "shutdown-answered",
            "SIGTERM: running calls that got their answer",
        ),
        bars(
            Scenario::Shutdown,
            "ended_last",
            "shutdown-ended",
            "SIGTERM: milliseconds until all GET streams had ended",
        ),
        bars(
            Scenario::Eras,
            "stateless_per_second",
            "echo-stateless-rate",
            "echo without a session: requests per second",
        ),
        bars(
            Scenario::Eras,
            "modern_per_second",
            "echo-modern-rate",
            "echo of 2026-07-28: requests per second",
        ),
        bars(
            Scenario::Leftovers,
            "stateless_resident",
            "leftovers",
            "RSS of the server in bytes, after calls without a session",
        ),
        lines(
            Scenario::Listeners,
            "bytes",
            "listeners-memory",
            "Bytes of RSS per open subscriptions/listen stream",
        ),
        lines(
            Scenario::ShutdownScale,
            "ended_last",
            "shutdown-scale",
            "SIGTERM: milliseconds until all GET streams had ended",
        ),
        lines(
            Scenario::Contention,
            "of_own",
            "contention",
            "Processor time per request, one endpoint for all threads / one for each",
        ),
        lines(
            Scenario::RedisEvents,
            "p50_10k",
            "redis-events-p50",
            "An event until its client reads it, 10,000/s: p50 in microseconds",
        ),
        lines(
            Scenario::RedisEvents,
            "p99_10k",
            "redis-events-p99",
            "An event until its client reads it, 10,000/s: p99 in microseconds",
        ),
        lines(
            Scenario::RedisEvents,
            "redis_cpu_10k",
            "redis-cpu",
            "Microseconds of Redis per event, 10,000/s",
        ),
        lines(
            Scenario::RedisTail,
            "p50_10k",
            "redis-tail-p50",
            "An event until it is read at another node, 10,000/s: p50 in microseconds",
        ),
        lines(
            Scenario::RedisTail,
            "p99_10k",
            "redis-tail-p99",
            "An event until it is read at another node, 10,000/s: p99 in microseconds",
        ),
        bars(
            Scenario::RedisReplies,
            "reply_p50",
            "redis-reply",
            "A reply until the handler has it, through another node or without a store: p50 in us",
        ),
        bars(
            Scenario::RedisReplies,
            "delete_p50",
            "redis-delete",
            "DELETE until the stream has ended, through another node or without a store: p50 in us",
        ),
        bars(Scenario::RedisSizes, "session_bytes", "redis-session", "Bytes of Redis per idle session"),
        bars(
            Scenario::RedisSizes,
            "call_bytes",
            "redis-call",
            "Bytes of Redis per running call with 5 events",
        ),
    ]
}

/// Draws the measured figures; returns the files.
pub(crate) fn draw_all(results: &Results, directory: &Path) -> Result<Vec<PathBuf>> {
    let mut drawn = Vec::new();
    for chart in charts() {
        let series = chart.series(results);
        if series.is_empty() {
            continue;
        }
        let path = directory.join(chart.file).with_extension("svg");
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        let draw = if chart.bars { bars } else { lines };
        draw(&area, &chart, &series)
            .and_then(|()| area.present().map_err(|error| anyhow!("{error}")))
            .map_err(|error| error.context(format!("cannot draw {}", path.display())))?;
        drop(area);
        drawn.push(path);
    }
    Ok(drawn)
}

/// The figures of one server, or of one kind of requests.
type Series = (Subject, Vec<(usize, Spread)>);

impl Chart {
    fn series(&self, results: &Results) -> Vec<Series> {
        let of = |subject: Subject| -> Vec<(usize, Spread)> {
            let xs = results.xs(self.scenario).into_iter();
            xs.filter_map(|x| Some((x, results.spread(self.scenario, subject, x, self.metric)?))).collect()
        };
        let series = results.subjects(self.scenario).into_iter().map(|subject| (subject, of(subject)));
        series.filter(|(_, points)| !points.is_empty()).collect()
    }
}

/// Both axes are logarithmic: proportional growth is a straight line, and a factor is a distance.
fn lines(area: &Area<'_>, chart: &Chart, series: &[Series]) -> Result<()> {
    let points = || series.iter().flat_map(|(_, points)| points);
    let least = points().map(|(x, _)| *x as f64).fold(f64::INFINITY, f64::min);
    let most = points().map(|(x, _)| *x as f64).fold(0.0, f64::max);
    // A figure may be zero or negative, for example a difference of memory: the axis begins at the smallest positive one.
    let low = points().map(|(_, it)| it.low).filter(|low| *low > 0.0).fold(f64::INFINITY, f64::min);
    let low = if low.is_finite() { low / 1.5 } else { 1.0 };
    let high = points().map(|(_, it)| it.high * 1.5).fold(low * 4.0, f64::max);
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(PLOT);
    let mut plot = ChartBuilder::on(&left)
        .caption(chart.title, text(17))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d((least / 1.3..most * 1.3).log_scale(), (low..high).log_scale())?;
    plot.configure_mesh()
        .max_light_lines(0)
        .bold_line_style(INK.mix(0.12))
        .axis_style(INK.mix(0.5))
        .label_style(text(12))
        .x_desc(chart.scenario.unit())
        .x_label_formatter(&|x| amount(*x as usize))
        .y_label_formatter(&|y| short(*y))
        .draw()?;
    for (row, (subject, points)) in series.iter().enumerate() {
        let color = subject.color();
        let medians = points.iter().map(|(x, it)| (*x as f64, it.median.max(low)));
        plot.draw_series(LineSeries::new(medians.clone(), color.stroke_width(2)))?;
        plot.draw_series(medians.map(|at| Circle::new(at, 3, color.filled())))?;
        plot.draw_series(points.iter().filter(|(_, it)| it.low < it.high).map(|(x, it)| {
            let [least, median, most] = [it.low, it.median, it.high].map(|value| value.max(low));
            ErrorBar::new_vertical(*x as f64, least, median, most, color.mix(0.6), 6)
        }))?;
        let y = 60 + 22 * row as i32;
        right.draw(&PathElement::new([(6, y), (26, y)], color.stroke_width(3)))?;
        right.draw(&Text::new(subject.label(), (32, y - 6), text(13)))?;
    }
    Ok(())
}

fn bars(area: &Area<'_>, chart: &Chart, series: &[Series]) -> Result<()> {
    let bars: Vec<(Subject, Spread)> =
        series.iter().filter_map(|(subject, points)| Some((*subject, points.last()?.1))).collect();
    let high = bars.iter().map(|(_, it)| it.high).fold(f64::MIN_POSITIVE, f64::max);
    area.fill(&WHITE)?;
    let mut plot = ChartBuilder::on(area)
        .caption(chart.title, text(17))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(56)
        .build_cartesian_2d((0..bars.len() - 1).into_segmented(), 0.0..high * 1.15)?;
    let name = |segment: &SegmentValue<usize>| match segment {
        SegmentValue::CenterOf(index) => {
            bars.get(*index).map_or_else(String::new, |bar| bar.0.label().to_owned())
        }
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    plot.configure_mesh()
        .disable_x_mesh()
        .light_line_style(INK.mix(0.0)) // without light lines plotters would loop forever while placing labels
        .bold_line_style(INK.mix(0.12))
        .axis_style(INK.mix(0.5))
        .label_style(text(12))
        .x_label_formatter(&name)
        .y_label_formatter(&|y| short(*y))
        .draw()?;
    for (index, (subject, spread)) in bars.iter().enumerate() {
        let corners = [(SegmentValue::Exact(index), 0.0), (SegmentValue::Exact(index + 1), spread.median)];
        let mut bar = Rectangle::new(corners, subject.color().filled());
        bar.set_margin(0, 0, 24, 24);
        plot.draw_series([bar])?;
        let top = (SegmentValue::CenterOf(index), spread.median);
        let above = text(12).pos(Pos::new(HPos::Center, VPos::Bottom));
        plot.draw_series([Text::new(spread.to_string(), top, above)])?;
    }
    Ok(())
}

fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}
