//! Hearth without a window: see `hearth-node --help`.

fn main() -> std::process::ExitCode {
    hearth_node::cli::main()
}
