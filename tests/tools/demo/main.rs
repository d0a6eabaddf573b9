//! The demo: a link goes blank and comes back, on a real broker, a real database and the real program.
//!
//! `ops/demo` builds it, gets a broker and starts it. Everything shown is measured; with `--once` the exit code says
//! whether all of it came true.

#![allow(clippy::disallowed_methods, reason = "it has no part in the program's time")]
#![expect(clippy::unwrap_used, reason = "a demo that cannot set its stage says so and ends")]

mod stage;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use course_sharing::event::EventKind;

use stage::Stage;
use test_support::until_every;

/// How long anything may take before the demo calls it untrue.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at a link.
const LOOK: Duration = Duration::from_millis(1);

#[tokio::main]
async fn main() -> ExitCode {
    let once = match std::env::args().skip(1).collect::<Vec<_>>()[..] {
        [] => false,
        [ref flag] if flag == "--once" => true,
        _ => {
            eprintln!("usage: ops/demo [--once]");
            return ExitCode::from(2);
        }
    };
    // For a broker with TLS; the program does so by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    println!("\n  course-sharing: a link goes blank, and comes back\n");
    let mut stage = Stage::set().await;
    let came_true = tokio::select! {
        came_true = play(&mut stage) => came_true,
        _ = tokio::signal::ctrl_c() => false,
    };
    if came_true && !once {
        stage.invite();
        let _ = tokio::signal::ctrl_c().await;
        println!();
    }
    let ended_well = stage.clear().await;
    println!("  {}", if came_true && ended_well { "all of it came true" } else { "NOT all of it came true" });
    if came_true && ended_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn play(stage: &mut Stage) -> bool {
    println!("1. A pass over the whole Catalog: {} overviews without a link\n", stage.blanks().await);
    let (passed, report) = stage.program(&["reconcile"]);
    print!("{}", indented(&counts(&report)));
    let wrong = stage.wrong_links().await;
    println!("   links that differ from the Catalog, byte for byte: {}\n", wrong.len());
    if !passed || !wrong.is_empty() || !stage.start_worker(LIMIT).await {
        return false;
    }

    println!("2. The LMS deletes an overview and re-creates it, without its link");
    let courses = stage.courses_with_links(3);
    let mut came_true = comes_back(stage, &courses[0]).await;

    println!("3. The same, with the Catalog switched off");
    stage.catalog.unplug().await;
    came_true &= comes_back(stage, &courses[1]).await;
    stage.catalog.plug().await;

    println!("4. The course's page moves in the Catalog, and the course is published");
    let url = "https://www.campus.example/course/the-new-page";
    stage.catalog.put(&courses[2], Some(url));
    show(&courses[2], stage.link(&courses[2]).await.as_deref());
    let published = Instant::now();
    stage.publish(EventKind::CoursePublish, &courses[2]).await;
    came_true &= appears(stage, &courses[2], url, published).await;

    println!("5. The links, as the LMS would share them\n");
    let (shared, links) = stage.program(&["share-link", &courses[0], &courses[1], &courses[2]]);
    print!("{}", indented(&links));
    println!();
    came_true && shared && courses.iter().all(|course| links.contains(course.as_str()))
}

/// Wipes a link as the LMS does, sends the event, and waits for the link.
async fn comes_back(stage: &Stage, course: &str) -> bool {
    let Some(before) = stage.link(course).await else { return false };
    show(course, Some(&before));
    stage.recreate_overview(course).await;
    show(course, stage.link(course).await.as_deref());
    let published = Instant::now();
    stage.publish(EventKind::OverviewRecreated, course).await;
    appears(stage, course, &before, published).await
}

async fn appears(stage: &Stage, course: &str, url: &str, since: Instant) -> bool {
    let is_there = async || Ok(stage.link(course).await.as_deref() == Some(url));
    if until_every(LOOK, "it is there", LIMIT, is_there).await.is_err() {
        println!("   NOT there after {} s\n", LIMIT.as_secs());
        return false;
    }
    let elapsed = since.elapsed();
    show(course, Some(url));
    println!("   there {:.1} ms after the event was sent to RabbitMQ\n", elapsed.as_secs_f64() * 1000.0);
    true
}

fn show(course: &str, link: Option<&str>) {
    println!("   {course}  {}", link.unwrap_or("(blank)"));
}

/// The report without its headings and zeros.
fn counts(report: &str) -> String {
    let (verdict, rest) = report.split_once('\n').unwrap_or((report, ""));
    let counted =
        rest.lines().filter(|line| line.starts_with(' ') && !line.ends_with(" 0") && !line.ends_with(" 0.0"));
    std::iter::once(verdict).chain(counted).map(|line| format!("{line}\n")).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("   {line}\n")).collect()
}
