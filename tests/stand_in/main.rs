//! The Catalog stand-in as a process of its own, for demo, benches and process tests.

use std::process::ExitCode;
use std::time::Duration;

use stand_in::{Auth, Runs, Setup, StandIn, Throttle};

const USAGE: &str = "catalog-stand-in: a Catalog for tests, demo and benches

  --listen ADDRESS      127.0.0.1:18381
  --fixtures DIR        serve the runs of DIR/catalog/list-limit1000-fields.json, or DIR/list-limit1000-fields.json
  --runs N              serve N made-up runs instead
  --latency-ms N        each answer takes so long
  --ms-per-run X        and so much longer for each run in it
  --client ID:SECRET    let in only who has a token of /oauth2/access_token
  --requests-per-hour N answer 429 above that

Without --fixtures and --runs: the 241 recorded runs. /_control/ changes things while it runs.";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let setup = match parse(&arguments) {
        Ok(setup) => setup,
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runs = setup.runs.count();
    let stand_in = StandIn::start(setup).await;
    println!("catalog stand-in: {runs} runs at {}", stand_in.url());
    until_stopped().await;
    ExitCode::SUCCESS
}

async fn until_stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

fn parse(arguments: &[String]) -> Result<Setup, String> {
    let mut setup = Setup { listen: ([127, 0, 0, 1], 18381).into(), ..Setup::default() };
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let bad = |_| format!("{flag} {value}: not a number in range");
        match flag.as_str() {
            "--listen" => setup.listen = value.parse().map_err(|_| format!("{value}: not an address"))?,
            "--fixtures" => setup.runs = fixtures(value)?,
            "--runs" => setup.runs = Runs::generated(value.parse().map_err(bad)?),
            "--latency-ms" => setup.latency = Duration::from_millis(value.parse().map_err(bad)?),
            "--ms-per-run" => {
                let ms: f64 = value.parse().map_err(|_| format!("{flag} {value}: not a number"))?;
                setup.latency_per_run =
                    Duration::try_from_secs_f64(ms / 1000.0).map_err(|e| e.to_string())?;
            }
            "--client" => {
                let (id, secret) = value.split_once(':').ok_or("--client wants ID:SECRET")?;
                let (client_id, client_secret) = (id.to_owned(), secret.to_owned());
                setup.auth = Some(Auth { client_id, client_secret, ..Auth::default() });
            }
            "--requests-per-hour" => {
                let requests = value.parse().map_err(bad)?;
                setup.throttle = Some(Throttle { requests, window: Duration::from_secs(3600) });
            }
            _ => return Err(format!("there is no flag {flag}")),
        }
    }
    Ok(setup)
}

fn fixtures(folder: &str) -> Result<Runs, String> {
    const NAME: &str = "list-limit1000-fields.json";
    let folder = std::path::Path::new(folder);
    let path = [folder.join("catalog").join(NAME), folder.join(NAME)].into_iter().find(|path| path.exists());
    let path = path.ok_or_else(|| format!("{} has no {NAME}", folder.display()))?;
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Runs::from_list(&text).map_err(|error| format!("{}: {error}", path.display()))
}
