"""Training, run from a checkout: ``python -m finetune.sft | inverse | embedder | pocket | merge --config FILE``.

Each command is a module or package here: ``sft`` (fine-tuning and continued training), ``inverse`` (the inverse-data
experiment), ``embedder`` (an embedder for your documents), ``pocket`` (the embedded model, frozen), ``merge`` (an
adapter into its base). Read ``sft`` first, then what it calls, in order: ``cli`` (settings from a YAML file and the
command line), ``data`` (rows to token ids and labels), ``trainer`` (the run). ``configs`` has a YAML file for each
training of the report; ``runs`` lists trainings on disk for the app.
"""
