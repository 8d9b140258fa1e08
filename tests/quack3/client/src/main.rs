//! A client of Quack 3 for the tests, of the crate quack_protocol: `quack3-client URI`, with the token in QUACK_TOKEN.
//!
//! Each line of standard input is a statement; its answer is one line: `ok`, the number of rows and the first row, or
//! `error` and the sentence. `beat SECONDS` waits, while the crate sends its heartbeats.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use quack_protocol::{QuackClient, QuackClientOptions};
use tokio::io::{AsyncBufReadExt, BufReader};

async fn answer(client: &QuackClient, statement: &str) -> Result<String, quack_protocol::QuackError> {
    let began = Instant::now();
    let (columns, mut chunks) = client.query(statement, None).await?.into_chunks();
    let (mut rows, mut first) = (0, String::from("-"));
    while let Some(chunk) = chunks.try_next().await? {
        if rows == 0 && chunk.row_count > 0 {
            let values: Vec<String> = (0..columns.len())
                .map(|at| format!("{:?}", chunk.column_values(at).expect("a column")[0]))
                .collect();
            first = values.join(" ");
        }
        rows += chunk.row_count;
    }
    Ok(format!("ok {rows} {:.6} {first}", began.elapsed().as_secs_f64()))
}

#[tokio::main]
async fn main() {
    let uri = std::env::args().nth(1).expect("the URI of a server");
    let options = QuackClientOptions {
        auth_token: std::env::var("QUACK_TOKEN").ok(),
        min_supported_quack_version: version("QUACK_LOWEST"),
        max_supported_quack_version: version("QUACK_HIGHEST"),
        heartbeat_timeout: Some(Duration::from_secs(version("QUACK_HEARTBEAT").unwrap_or(60))),
        ssl: Some(false),
        ..QuackClientOptions::default()
    };
    let client = match QuackClient::connect(&uri, options).await {
        Ok(client) => client,
        Err(error) => return println!("error {}", line(&error.to_string())),
    };
    let info = client.info.clone().expect("what the server said");
    println!("connected {}", info.quack_version.expect("its version"));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(statement) = lines.next_line().await.expect("standard input") {
        if let Some(seconds) = statement.strip_prefix("beat ") {
            tokio::time::sleep(Duration::from_secs_f64(seconds.parse().expect("seconds"))).await;
            println!("ok");
            continue;
        }
        match answer(&client, &statement).await {
            Ok(told) => println!("{}", line(&told)),
            Err(error) => println!("error {}", line(&error.to_string())),
        }
    }
    if let Err(error) = client.disconnect().await {
        println!("error {}", line(&error.to_string()));
    }
}

fn version(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn line(text: &str) -> String {
    text.replace('\n', "\\n")
}
