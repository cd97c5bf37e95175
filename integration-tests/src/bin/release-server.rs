//! Serves a folder of releases on loopback, for the demo: `release-server FOLDER [PORT]`.
//!
//! Prints its address on stdout when it serves, then a line on stderr for every request.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use integration_tests::release_server::ReleaseServer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let folder = args.next().map(PathBuf::from);
    let port = args.next().map_or(Some(0), |port| port.to_str()?.parse().ok());
    let (Some(folder), Some(port), None) = (folder, port, args.next()) else {
        println!("usage: release-server FOLDER [PORT]");
        return Ok(ExitCode::from(2));
    };
    let server = ReleaseServer::over(folder, port, |served| {
        // A reader who closed our stderr does not want to know.
        let _ = writeln!(std::io::stderr(), "{} {} {} bytes", served.status, served.path, served.bytes);
    })
    .await?;
    println!("http://{}", server.address());
    server.run().await;
    Ok(ExitCode::SUCCESS)
}
