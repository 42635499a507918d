//! The demo, small: the server and a service are killed, and the audit holds.

use std::process::Command;

#[test]
fn a_small_demo_survives_its_misfortunes_and_its_audit_holds() {
    let output = Command::new(env!("CARGO_BIN_EXE_amends"))
        .args(["demo", "--orders", "40", "--seed", "3"])
        .output()
        .expect("the binary runs");
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    let report = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{told}{report}");
    for event in [
        "killed the server with SIGKILL",
        "killed payments with SIGKILL",
        "every saga is settled",
    ] {
        assert!(told.contains(event), "{event}: {told}");
    }
    for line in [
        "\nA happy saga: ",
        "\nsagas lost 0\n",
        "\neffects doubled 0\n",
        "\neffects left behind 0\n",
        "\nThe audit holds, ",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }
}
