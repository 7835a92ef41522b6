use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["reasoner"] => isotherm::reason::worker::run()?,
        ["model", "inspect", path] => {
            println!("{}", isotherm::model::inspect::inspect(&PathBuf::from(path))?);
        }
        ["model", "inspect", path, "--json"] => {
            println!("{}", serde_json::to_string(&isotherm::model::inspect::inspect(&PathBuf::from(path))?)?);
        }
        ["model", "requantize", input, output, "--to", to] => {
            let made = isotherm::model::requantize::requantize(
                &PathBuf::from(input),
                &PathBuf::from(output),
                to.parse()?,
            )?;
            println!("{made}");
        }
        _ => println!("{}", isotherm::reason::build_info()),
    }
    Ok(())
}
