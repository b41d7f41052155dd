"""The console program's help texts (host); kept apart from the code that they describe, so that help loads nothing."""

PROGRAM = """\
curriculum-rec: curriculum and progressive training of recommender systems

usage: curriculum-rec COMMAND [OPTION=VALUE ...]

commands:
  train       train an experiment and leave a run directory
  resume      go on with a run that was interrupted, to the same bits
  evaluate    measure a run again, or several beside each other and as an ensemble
  recommend   write the top items of a run's users to a file
  score       write how hard each training target is to a file
  compress    store a run's model in fewer bytes, as a run of its own, and say what it costs
  inspect     draw what runs trained when, and what came of it
  audit       compare what is taken for hard, by itself and with what is known to be wrong
  list        list the runs below a folder, finished, running, interrupted or broken
  show        say what a run is, what it cost, how good it is and how to go on with it
  compare     say in which options runs differ, and whether users are better off with one of them
  track       send what a run has logged to TensorBoard, MLflow, Weights & Biases or trackio
  completion  print a script that completes commands, options and choices in bash, zsh or fish
  replay      estimate what a run's model would have earned, from the log of another policy
  prequential test an experiment on each window of time, then train it on that window
  study       train arms under several seeds, whatever happens, and say what may be said of them
  report      compare finished runs: a page, tables for a paper
  tune        search for the options by which a validation metric is highest
  data        list data sets by name, download them, and describe any data in numbers and pictures

  curriculum-rec COMMAND --help   explains a command's options
  curriculum-rec --version        prints the version

first steps:
  curriculum-rec train experiment=quickstart
  curriculum-rec recommend run=runs/quickstart/... k=10 output=top.csv

exit codes: 0 done; 2 something you can mend (one sentence says what); 130 interrupted, can be resumed
"""

TRAIN = """\
usage: curriculum-rec train [experiment=NAME] [GROUP=CHOICE ...] [OPTION=VALUE ...]

Trains a recommender and leaves a run directory: config.yaml, metrics.jsonl, summary.json, checkpoints/, evaluation/.

groups (curriculum-rec train --info defaults-tree shows what is chosen, --cfg job every option and its value):
  experiment    quickstart, and what lies in ./experiments/experiment/
  data          online_retail, eshop_clothing (in the package), sequences, table (CSV, TSV, JSON lines, Parquet, NumPy),
                log (by data.pattern), sqlite, postgresql (by data.table or data.query; extra "sql"), joined (several)
                (data.user=, .item=, .timestamp=, .timestamp_format=, .time_zone=, .others=[NAME,...]; docs/data.md),
                simulated (a world whose truth is known: data.n_users=, .false_positives=, ... docs/simulated.md);
                downloaded once, or a copy by data.path= (docs/data_sets.md): movielens_100k, movielens_1m,
                movielens_20m, movielens_25m, amazon_beauty, amazon_sports, amazon_toys, amazon_video_games, lastfm;
                rows, arrays (with task=pointwise); store (of 'data prepare', beyond memory: docs/data_at_scale.md)
  task          next_item, pointwise (the label of a row, from its features: docs/features.md), regression (a number)
                split=random_rows|latest_rows|row_folds   examples.label=COLUMN   examples.positive_from=4
                model=logistic_regression|mlp_classifier|residual_classifier|transformer_classifier|wide_deep|deepfm|
                      dcn_v2|din (needs features/feature=history)|neumf (model.user=FEATURE, model.item=FEATURE)
                (model.crosses=[[A,B]]; model.rank=, .structure=stacked|parallel)
                objective=cross_entropy|logistic|focal|mse (for numbers)
                evaluation.metric=auc|accuracy   (of numbers r2, beside rmse and mae)
  features      none; one more by +features/feature@features.interaction.features.NAME=categorical|multi_categorical|
                numeric|time|time_gap|history|text|sentence_vectors|dense   (so for features.user and features.item,
                which join models of sequences, too: model.item_features=add|none .user_features=add|none
                .dense_vectors=frozen|trained; without any: model.time_features=gap)
                +features/reduce@features.interaction.reduce.NAME=pca|truncated_svd|linear_discriminant|topic_model
  cleaning      by data; one more rule by +cleaning/rule@cleaning.NAME=missing|incomplete|fill_missing|duplicates|
                out_of_range|convert_timestamps|outliers|inhuman_activity|k_core|rating_threshold
  split         leave_one_out, last_n (split.test=5), ratio (of each user's), global_time (split.by=share|moment),
                random, cold_users (split.given=3, .targets=1), cold_items; for cross-validation user_folds,
                interaction_folds (split.folds=5, and fold=0 or -m 'fold=range(5)')   (docs/splits.md)
  examples      sequences
  noise         none, planted   (noise.rate=, .items=uniform|popularity, .how=insert|replace, .concentration=)
  model         sasrec, dnn, gru4rec, bprmf (with objective=bpr)   (model.norm_position=pre|post)
                bert4rec (with objective=masked_item); hstu (asks when items came; model.bias=position does not)
                two_tower (objective=sampled_softmax objective/negatives=in_batch objective.correct=true);
                youtube_dnn (dnn with model.example_age=add)
                fitted at once, without objective, optimizer and stages: mostpop, itemknn, ease   (docs/baselines.md)
                model/block=classic|ligr|modern   (sasrec, bert4rec; ligr with sampled_softmax is eSASRec's recipe)
                model.positions=learnt|rotary|relative model.feed_forward=gelu|swiglu model.gating=scalar|ligr
                model/drop=none|progressive|layer_drop|linear   (blocks that are left out of a step)
                model/item_table=full|hashed|quotient_remainder   (sasrec, bert4rec, hstu: items share rows)
  objective     softmax, sampled_softmax, bce, gbce, bpr   (docs/objectives.md)
                nested (around objective.objective, for item vectors to be cut)
                masked_item (around objective.objective; objective.share=0.2), contrastive, duorec (an added term:
                objective@objective.objective=bce, objective.weight=, .temperature=, .similarity=dot|cosine)
                augmentation@objective.views=cl4srec|coserec|crop|mask|reorder|substitute|insert|
                                             none (objective.pair=dropout)
                objective/negatives=uniform|popularity|in_batch|hardest|softmax|quantile|adaptive|mixed|cached_hard
                (objective.sharing=position|batch, a batch sharing only the first three; .correct=true: by log q)
  optimizer     adamw, sgd, adagrad, rowwise_adagrad, lion, muon, lamb, schedule_free
                lazy_adam, touched_sgd, touched_adagrad (around optimizer.optimizer: only looked-up rows of tables move)
                optimizer/penalty=none|elastic_net   (L1 and L2 of matrices and embeddings)
                (optimizer.weight_average=0.999: an average of the weights is evaluated; all but schedule_free)
                pruned (around optimizer.optimizer; optimizer.sparsity=0.8)
  curriculum    none, or by difficulty: length, user_activity, popularity, sequence_rarity, transition_surprisal,
                time_gap, arrival, history_distance, history_entropy, loss; judged by teachers: transfer_teacher,
                cross_validated, cross_review, first_learnt, correctness, forgetting, data_map, area_under_margin,
                error_norm, gradient_norm, prediction_depth, reducible_loss; combined, ensemble; file
                (ordered: the one that curriculum/difficulty names)
                curriculum/pacing=linear|polynomial|root|step|exponential|logarithmic|competence|geometric|cosine|
                                  staircase|baby_step|one_pass|plateau|constant
                curriculum/sampler=prefix|prefix_with_replacement|soft_prefix|boltzmann|stratified|replay|
                                   importance_corrected|pruned|dynamic_hardness|mixture|
                                   taught (by curriculum/sampler/teacher=online|naive|window|sampling|exp3s|mastery)
                curriculum/history=whole|cut|split   (histories grow from short to long)
                curriculum.order=curriculum|anti|random|standard   (random is the control with the same pacing)
                curriculum.controls=all   (with -m: every order, each a run)
                curriculum.unit=sequence|target   curriculum.refresh=pass|epoch|step
  weighting     none, self_paced_hard, self_paced_linear, self_paced_logarithmic, self_paced_mixture,
                self_paced_polynomial, self_paced_logistic, self_paced_diverse, mentor, super_loss, gaussian, focal,
                generalised_cross_entropy, truncated, selective, reducible (weighting.reference=FILE), group_robust,
                inverse_propensity, screener, learn_to_reweight, meta_weight_net,
                data_parameters, oracle (with noise=planted: a bound for the others)
  growth        none; copies behind gates of 0: interleave, stack, partial_stack, partial_interleave, gradual, middle;
                interleaved blocks of other kinds: identity, norm_zero, copy, momentum; shrink (depth may fall)
                prefix (blocks on top and the head begin anew; stages=prefixes)
                wider, padded (model.norm=rms), deeper_and_wider, learned (stages.NAME.model={width:128})
                masked (deeper, wider or both, behind masks that rise over growth.steps=5)
                per_field (fields of rows get dimensions one by one; growth.threshold=, .checks=; stages=grow_fields)
                growth/map=interleave|stack|partial_stack|partial_interleave|gradual|middle
                growth/blocks=gated|identity|norm_zero|copy|momentum|fresh   (the last three: growth.allow_lossy=true)
  stages        single, grow_2_4, grow_2_4_8, proportional, continual, pretrain_finetune, distil, teacher_assistants,
                born_again, distil_from_run, grow_then_distil, distil_from_growth, prefixes (growth=prefix),
                grow_fields (growth=per_field; stages.n_checks=12 .share=0.6),
                rewind (a run's early weights under the mask of its late ones; optimizer=pruned)
                (stages.NAME.epochs=, .steps=, .depth=, .warm_start=RUN)
                stages/until@stages.NAME.until=none|plateau|loss_slope|operation_share|curriculum_share   (ends earlier)
                stages/freeze@stages.NAME.freeze=none|parts|gradual_unfreezing|new_blocks_first|early_layers
                distillation/teacher@stages.NAME.distil.teacher=stage|run|ensemble|trajectory|average
                distillation/term@stages.NAME.distil.terms.ANY=catalogue_divergence|candidate_divergence|soft_binary|
                         ranking_distillation|collaborative_distillation|relaxed_ranking|pairwise_margin|
                         unbiased_ranking|easy_to_hard|hidden_state|attention_maps|experts|full_topology|
                         hierarchical_topology|item_side_ranking
  placement     auto, jit, pmap, shard_map
  evaluation    full_ranking (evaluation.k=, .metrics=[...], .targets=each|together, .groups=COLUMN, .item_chunk=:
                docs/evaluation.md), classification (task=pointwise), regression (task=regression)
  tracking      none, tensorboard, mlflow, wandb, trackio, or several: tracking=[tensorboard,mlflow]  (docs/tracking.md)
                (tracking.mlflow.uri=, tracking.wandb.mode=offline|online, tracking.NAME.project=)
  hydra/launcher   where the runs of a sweep go: basic (one after the other, here), joblib_local, slurm, ray_local

options:
  run_dir=DIR             where the run is kept (default runs/NAME/DATE_TIME)
  on_existing=refuse      what to do if run_dir holds a run: refuse, replace or resume
  seed=0                  decides everything random
  fold=                   the fold that is tested, from 0, of a split that has folds; a sweep of several folds ends with
                          a table of all of them together
  checkpoint_every_steps= steps between checkpoints besides those at evaluations
  precision=float32       what the model computes in; bfloat16 where the device is made for it
  accumulate=1            cut each device's share of a batch into so many parts, for memory
  distributed=            env, slurm or auto: this is one process of a run on several hosts (needs run_dir)
  profile=false           true traces a few chunks of every stage and writes profile/STAGE/breakdown.txt
  compilation_cache=DIR   where compiled programs lie for later runs (default ~/.cache/curriculum_rec); null for none
  score_cache=DIR         where what teachers said lies for later runs (default ~/.cache/curriculum_rec/scores); null:
                          in the run directory alone
  progress=auto           rich: a bar; plain: a line an evaluation; none: only the result (as do runs beside each other,
                          unless it is asked for); auto: rich in a terminal, plain elsewhere
  trusted_packages=[]     your own packages that _target_ may name

examples:
  curriculum-rec train experiment=quickstart
  curriculum-rec train data=sequences data.path=histories.txt curriculum=length stages.train.epochs=30
  curriculum-rec train data=table data.path=log.csv data.user=customer data.item=sku data.timestamp=time
  curriculum-rec train -m curriculum=none,length,popularity seed=0,1      (a sweep: one run a combination)
  curriculum-rec train -m seed=0,1,2,3 hydra/launcher=joblib_local        (its runs two at a time)
  curriculum-rec train experiment=quickstart --cfg job                    (print the configuration, do nothing)
"""

RESUME = """\
usage: curriculum-rec resume run=DIR [OPTION=VALUE ...]

Goes on with an interrupted run from its newest good checkpoint. Configuration and data must be what they were. On a
CPU the metrics and the final parameters are the same, bit for bit, as those of a run that was never interrupted. The
number of hosts may be another; sums then differ by rounding.

options:
  progress=auto           rich, plain, none, or auto: rich in a terminal, plain elsewhere
  distributed=            env, slurm or auto: this is one process of a run on several hosts
  compilation_cache=DIR   where compiled programs lie (default ~/.cache/curriculum_rec); null for none
  score_cache=DIR         where what teachers said lies (default ~/.cache/curriculum_rec/scores); null for none
  trusted_packages=[]     your own packages that the run's configuration may name
"""

EVALUATE = """\
usage: curriculum-rec evaluate run=DIR | runs=[DIR,DIR] [OPTION=VALUE ...]

Ranks every target of a split among all items and prints the metrics beside MostPop's. Of a run that predicts labels
(task=pointwise) it predicts those of all rows of the split, by the features that the run was trained with. Several runs
on the same data and split stand beside each other, and are one by ensemble=. See docs/evaluation.md.

options:
  runs=[DIR,DIR]          several runs; what is not said here is the first one's choice
  ensemble=mean           also all of them as one: mean (of scores, standardised for each question; of rows with labels
                          of probabilities or numbers) or borda (of places)
  part=test               test or validation
  checkpoint=best         best, newest, or a step that has a checkpoint
  k=[5,10,20]             cut-offs (default: the run's own)
  metrics=[hr,ndcg,...]   hr, ndcg, mrr, recall, precision, f1, map_n, map_min, auc, gauc; of lists serendipity,
                          novelty, popularity, tail_share, diversity_groups, diversity_vectors, calibration; of all
                          lists coverage, gini, entropy; of labels auc, accuracy, log_loss, gauc, ece (default: the
                          run's own)
  targets=each            each held-out item asked for alone, or a user's together (default: as in the run)
  filter_seen=            whether items of the history are no candidates (default: as in the run)
  groups=COLUMN           the data's column of items' groups, such as genres, for diversity_groups and calibration
  item_chunk=             items scored at once, for large catalogues (default: as in the run)
  slices=[]               activity (of users), popularity (of the items asked for), cold (items without training events)
  intervals=false         95 % bootstrap intervals over users
  report=FILE.json        all numbers: .json, .csv, .jsonl or .parquet
  data_path=FILE          where the run's data file lies now, if it moved
  output=FILE.parquet     write one row a target: user, item, rank and metrics
  compilation_cache=DIR   where compiled programs lie (default ~/.cache/curriculum_rec); null for none
  trusted_packages=[]     your own packages that the run's configuration may name
"""

RECOMMEND = """\
usage: curriculum-rec recommend run=DIR [OPTION=VALUE ...]

Writes the items with the highest scores after each user's whole history: columns user, rank, item, score.

options:
  k=10                    items a user
  users=[u1,u2]           original ids (default: all users)
  filter_seen=true        leave out items of the user's history (true even where the run's evaluation kept them)
  checkpoint=best         best, newest, or a step that has a checkpoint
  output=FILE             .parquet, .csv or .jsonl (default: recommendations.parquet in the run directory)
  data_path=FILE          where the run's data file lies now, if it moved
  compilation_cache=DIR   where compiled programs lie (default ~/.cache/curriculum_rec); null for none
  trusted_packages=[]     your own packages that the run's configuration may name
"""

SCORE = """\
usage: curriculum-rec score [run=DIR | experiment=NAME ...] curriculum=NAME [OPTION=VALUE ...]

Writes how hard everything is that a run or an experiment trains on: columns user, item, position (the place in the
training history, from 1), score (higher is harder) and quantile; with curriculum.unit=sequence (the default of most
curricula) user, score and quantile. Groups and options are those of train; with run=DIR the run's own count, the
curriculum aside. Such a file, or one of your own, orders a training by curriculum=file curriculum.difficulty.path=FILE.

options:
  run=DIR                 a run whose data, model and, unless one is chosen, curriculum are taken
  output=scores.parquet   the file: .parquet, .csv or .jsonl
  data_path=FILE          where the run's data file lies now, if it moved
  seed=0                  decides everything random about teachers, and which of equal scores comes first
  fold=                   the fold whose training part is scored, of a split that has folds
  precision=float32       what teachers compute in; bfloat16 where the device is made for it
  accumulate=1            cut each device's share of a batch into so many parts, for memory
  compilation_cache=DIR   where compiled programs lie (default ~/.cache/curriculum_rec); null for none
  score_cache=DIR         where what teachers said lies (default ~/.cache/curriculum_rec/scores); null for none
  progress=auto           rich, plain, none, or auto: rich in a terminal, plain elsewhere
  trusted_packages=[]     your own packages that _target_ may name
  Without effect, so that any experiment can be scored: run_dir=, on_existing=, checkpoint_every_steps=, profile=,
  tracking=; and distributed= is refused.

examples:
  curriculum-rec score experiment=quickstart curriculum=cross_validated curriculum.unit=target
  curriculum-rec score run=runs/quickstart/... curriculum=forgetting curriculum.unit=target output=forgetting.csv
"""

COMPRESS = """\
usage: curriculum-rec compress run=DIR [method=NAME] [method.OPTION=VALUE ...] [OPTION=VALUE ...]

Stores the model of a run in fewer bytes, in a run directory of its own that evaluate, recommend and warm starts take
like any other. Prints, and writes to compression.json and compression.md, the bytes, the seconds for 1,000 users'
recommendations, the overlap of their top 10 and NDCG@10 with intervals, before and after. See docs/compression.md.

method=
  int8_rows             8 bits and a scale a row (the default); method.scope=all|table
  int8_affine           8 bits over each row's own range; method.scope=
  int4_rows             4 bits over each row's range; method.clip=greedy|none, .scope=
  low_rank              singular values; method.energy=0.9, or method.energy=null method.rank=N
  product_quantisation  codes of parts of a row; method.parts=8, .centres=256, .rounds=
  hashing               sums of shared rows, by hashes; method.share=0.25, .n_probes=2, .rounds=
  quotient_remainder    products of two shared rows; method.remainders=, .rounds=
  magnitude             the smallest weights are left out; method.sparsity=0.8, .scope=
  blocks                blocks with the smallest gates are dropped; method.keep=1
  dimensions            the first columns of the item table are kept; method.width=32

options:
  run_dir=DIR             where the compressed run is kept (default: beside the run, its name and the method's)
  on_existing=refuse      what to do if run_dir holds a run: refuse or replace
  checkpoint=best         best, newest, or a step that has a checkpoint
  data_path=FILE          where the run's data file lies now, if it moved
  compilation_cache=DIR   where compiled programs lie (default ~/.cache/curriculum_rec); null for none
  trusted_packages=[]     your own packages that _target_ may name

examples:
  curriculum-rec compress run=runs/quickstart/...
  curriculum-rec compress run=runs/quickstart/... method=low_rank method.energy=null method.rank=16 run_dir=runs/small
"""

INSPECT = """\
usage: curriculum-rec inspect run=DIR [against=seconds] [output=FILE]

Draws which difficulty a run trained when, the available share, losses, validation metric, learning rate, depth and
weights. Several runs, finished or not, are drawn side by side on the same axes. Needs the extra "figures".

options:
  run=DIR                 a run, or up to six: run=[A,B]
  against=step            what the horizontal axis counts: step, seconds (of training) or operations
  output=FILE             .svg, .png, .pdf or .html (default: inspection.svg in the first run's directory)
"""

AUDIT = """\
usage: curriculum-rec audit [experiment=NAME] [GROUP=CHOICE ...] difficulties=[NAME,...] [OPTION=VALUE ...]

Scores all training targets of an experiment and writes a page: rank correlations of the scorers with each other, with
popularity and with length; how well two halves of the seeds of a scorer agree; how probably a scorer ranks what is
known to be wrong as hard; and how each tenth of the difficulty was learnt. Nothing is trained. Groups and options of
the experiment are those of train. Needs the extra "figures".

options:
  difficulties=[NAME,...] choices of curriculum/difficulty; popularity and length always join
  scores=[FILE,...]       files of the columns user, item, position and score, as score writes them; a folder holds
                          one Parquet file a seed of one scorer
  flagged=FILE            Parquet file of the interactions known to be wrong: columns user, item, position, as
                          noise.parquet of a run; with noise=planted they are known without it
  runs=[DIR,...]          runs whose losses by difficulty are drawn, those that fed them back
  seeds=4                 seeds of a difficulty in which chance plays a part
  output=audit.html       where the page is written

examples:
  curriculum-rec audit experiment=quickstart difficulties=[sequence_rarity,transition_surprisal,history_entropy]
  curriculum-rec audit experiment=quickstart difficulties=[] scores=[loss.parquet,teachers/] flagged=noise.parquet
"""

LIST = """\
usage: curriculum-rec list [FOLDER ...] [OPTION=VALUE ...]

Prints a row for every run directory at or below the folders (default: runs): its state, how long ago it was written to,
its stages with the model's depth, steps, the metric of the best checkpoint, seed and the configuration's hash. A run is
finished, running (a process holds its lock), interrupted, or broken (a file of it cannot be read).

options:
  sort=age                a column: run, state, age, stages, depth, steps, metric, validation, test, seed or config;
                          with a minus the greatest first: sort=-test
  metric=                 the metric that is shown, such as hr@10 (default: each run's own)
  output=table            table, csv or json on standard output, or a file that ends in .csv or .json

examples:
  curriculum-rec list
  curriculum-rec list runs/sweeps /disk/runs sort=-test output=csv
"""

SHOW = """\
usage: curriculum-rec show run=DIR

Prints what a run is (data, model, curriculum), its stages, what it cost, its quality beside MostPop's, the versions of
what it was made with, its files, and how to go on with it.
"""

COMPARE = """\
usage: curriculum-rec compare runs=[DIR,DIR,...] [metric=NAME]

Prints the options in which runs differ, their metrics side by side and, for runs on the same split, how much better off
users are than with the first run: the mean difference over users, its 95 % bootstrap interval, and the p of a sign-flip
test, as it is and corrected for so many comparisons. Where that cannot be, it says why.

options:
  metric=                 the metric that is tested, such as hr@10 (default: the first run's own)
"""

TRACK = """\
usage: curriculum-rec track run=DIR tracking=NAME [tracking.NAME.OPTION=VALUE ...]

Sends the rows of a run's metrics.jsonl to trackers, as if they had been there from the start. What a tracker knows
already is not doubled. See docs/tracking.md.

tracking=
  tensorboard           event files; tracking.tensorboard.folder=
  mlflow                a database in the run directory, or tracking.mlflow.uri=; .experiment=
  wandb                 files for 'wandb sync'; tracking.wandb.mode=offline|online, .project=, .entity=, .folder=
  trackio               trackio's folder on this machine; tracking.trackio.project=
  [NAME,NAME]           several at once

options:
  trusted_packages=[]     your own packages that _target_ may name

examples:
  curriculum-rec track run=runs/quickstart/... tracking=tensorboard
  curriculum-rec track run=runs/quickstart/... tracking=[mlflow,trackio] tracking.mlflow.uri=sqlite:///runs/mlflow.db
"""

COMPLETION = """\
usage: curriculum-rec completion bash|zsh|fish

Prints a script that completes commands, options, choices of groups and run directories when Tab is pressed.

  bash    eval "$(curriculum-rec completion bash)"          in ~/.bashrc
  zsh     eval "$(curriculum-rec completion zsh)"           in ~/.zshrc, after compinit
  fish    curriculum-rec completion fish | source           in ~/.config/fish/config.fish
"""

PREQUENTIAL = """\
usage: curriculum-rec prequential [experiment=NAME] [GROUP=CHOICE ...] [windows=8] [OPTION=VALUE ...]

Cuts time into windows and, window after window, trains on all that came before it and ranks what it brought among all
items; from the second window on, training begins with the weights of the window before. Needs timestamps. Leaves a run
directory a window (window-01, ...), and beside them prequential.csv (one row a window, MostPop's metrics beside the
model's), interactions.parquet (one row a tested interaction) and summary.json (means over all tested interactions with
intervals over users). Groups and options are those of train; an experiment's own split is not taken. See
docs/online_evaluation.md.

options:
  windows=8               how many
  warm_up=0.5             share of the data before the first window
  cut=interactions        windows of equally many interactions; or time: equally long ones
  tested=all              all interactions of a window, or first: each user's first
  validation=0.05         share of what came before a window, the latest, that decides which checkpoint is best; it is
                          trained on with the next windows
  update_epochs=          length of the training from the second window on (default: that of the last stage)
  run_dir=DIR             where the windows are kept (default runs/NAME/DATE_TIME)
  on_existing=refuse      what to do if run_dir holds windows: refuse, replace or resume (go on, finished ones stay)
  seed=0                  decides everything random
  checkpoint_every_steps=, precision=, accumulate=, profile=, compilation_cache=, score_cache=, progress=,
  trusted_packages=[]     as in train; distributed=, split= and fold= are refused

examples:
  curriculum-rec prequential experiment=quickstart windows=4
  curriculum-rec prequential data=table data.path=log.csv curriculum=popularity update_epochs=3 run_dir=runs/weekly
"""

REPLAY = """\
usage: curriculum-rec replay run=DIR log=FILE [policy=greedy|softmax] [policy.OPTION=VALUE ...] [OPTION=VALUE ...]

Estimates the mean reward that a policy made of a run's model would have earned, from a log of what another policy
showed, what that brought, and how probable it was. Prints the logging policy's own mean beside replay, IPS, clipped
IPS, self-normalised IPS, the reward model's and the doubly robust estimate, each with a bootstrap interval over users,
and how far the log can tell anything of the policy. See docs/online_evaluation.md.

The log is a .parquet, .csv or .jsonl file with one row a shown item:
  user, item              ids as in the run's data
  reward                  a number, such as 1 for a click and 0 for none
  propensity              the probability with which the logging policy showed the item there, in (0, 1]
  position                optional: the slot of a list, from 1; propensity is then that of the item in that slot
  candidates              optional: the list of items that might have been shown (.parquet, .jsonl)
  timestamp               optional, in the unit of the run's data: the history is then what came before

policy=
  greedy                  policy.k=1 items of the highest scores, or slots of a list; policy.epsilon=0 of chance
  softmax                 policy.temperature=1 of the scores; policy.epsilon=0 of chance

options:
  candidates=             column, log (all items that the log shows) or catalogue (default: column, else log)
  filter_seen=true        items of the user's history are no candidates
  reward_model=           null leaves out the estimates that need one; reward_model.folds=5, .prior_rows=10, .seed=0
  clip=                   largest weight of clipped IPS (default: the square root of the rows)
  level=0.95              how often the intervals shall hold the truth
  seed=0                  decides what is resampled, and what replay keeps
  checkpoint=best         best, newest, or a step that has a checkpoint
  output=FILE             write the estimates: .parquet, .csv or .jsonl
  data_path=FILE          where the run's data file lies now, if it moved
  compilation_cache=DIR   where compiled programs lie (default ~/.cache/curriculum_rec); null for none
  trusted_packages=[]     your own packages that _target_ may name

examples:
  curriculum-rec replay run=runs/quickstart/... log=shown.parquet
  curriculum-rec replay run=runs/quickstart/... log=shown.parquet policy=softmax policy.temperature=0.5
"""

STUDY = """\
usage: curriculum-rec study study=NAME [folder=DIR] [OPTION=VALUE ...] [-- OPTION=VALUE ...]

Trains every arm of a study under every seed, and writes a report. A study is a file of arms, seeds, data sets and
conditions: experiments/studies/NAME.yaml, or a path (docs/studies.md says what can stand in it). It may be killed at
any time; the same command goes on: finished runs are left alone, interrupted ones go on from their newest checkpoints,
to the same bits, and failed ones are tried again. ledger.json in the folder of the study says how every run stands.
What follows -- are options of train, for every run.

options:
  folder=DIR              where the data sets of the study lie
  study_dir=DIR           where everything is kept (default runs/studies/NAME); a run's folder is
                          DATA/CONDITION/ARM/seed-N, what its process printed lies beside it in seed-N.log
  arms=[NAME,...]         a part of the arms; so for seeds, data_sets, conditions and folds
  jobs=1                  runs at a time on this machine, each on cores of its own
  hydra/launcher=NAME     a launcher of Hydra in place of them: joblib_local, slurm or ray_local (docs/launchers.md)
  on_failure=continue     stop begins no more runs once one has failed (under a launcher: no more seeds)
  progress=auto           rich: a table; plain: a line a run; none; auto: rich in a terminal, plain elsewhere
  report=true             false leaves the report out, which is written to report/ in study_dir once an arm is finished;
                          its page needs the extra "report"
  trusted_packages=[]     your own packages that _target_ may name

examples:
  curriculum-rec study study=curricula folder=DIR jobs=2
  curriculum-rec study study=curricula folder=DIR arms=[plain,length,length-random] seeds=[0,1] -- stages.train.epochs=5
"""

REPORT = """\
usage: curriculum-rec report study=DIR | runs=[DIR,...] [OPTION=VALUE ...]

Says what may be said of finished runs: report.html, one file that needs nothing else, report.md, and the tables as CSV
and LaTeX (docs/report.md). Runs are paired by seed and by user; runs on different data are refused. Needs the extra
"report".

options:
  study=DIR               the folder of a study, or of a sweep (runs/sweeps/DATE_TIME)
  runs=[DIR,...]          any runs in place of a study: those that differ by their seed alone are one arm
  baseline=ARM            what the arms are compared with (default: the study's; else the first)
  metric=ndcg@10          what decides (default: the study's; else the runs' own)
  output=DIR              where the report is written (default: report/ in the study's folder)
  into=README.md          write it into a Markdown file too, between the lines "<!-- report begin -->" and
                          "<!-- report end -->", or its table tables/NAME.csv between "<!-- table NAME begin -->" and
                          "<!-- table NAME end -->"

examples:
  curriculum-rec report study=runs/studies/curricula
  curriculum-rec report runs=[runs/a,runs/b] output=comparison
"""

TUNE = """\
usage: curriculum-rec tune space=NAME|FILE [OPTION=VALUE ...] [-- OPTION=VALUE ...]

Searches for the options by which an experiment's validation metric is highest. The space is a YAML file, and every
trial an ordinary run in the study's folder, stopped early where its validation curve is worse than others'. The same
command goes on with a study, by as many processes as call it: after Ctrl-C or kill -9 an unfinished trial goes on from
its checkpoint. Leaves study.db, trials/, trials.csv, tuning.md, tuning.html, and experiment/best.yaml, which
'train --config-dir=STUDY_DIR experiment=best' trains. See docs/tuning.md. Needs the extra "tune".

options:
  space=NAME|FILE         experiments/tuning/NAME.yaml, or a file that ends in .yaml: what is searched and how
  study_dir=DIR           the study's folder (default runs/tune/NAME)
  overrides=[WORD,...]    options of train for every trial, after those of the file; what follows -- is that, too
  n_trials=               all trials of the study, those of other processes among them (default: the file's, else 40)
  timeout=                seconds after which this process begins no new trial (default: the file's, else none)
  seed=                   decides what the sampler draws (default: the file's, else 0)
  jobs=1                  processes that work on the study; more may be started by hand
  progress=auto           rich: a table; plain: a line a trial; none; auto: rich in a terminal, plain elsewhere
  compilation_cache=DIR   where compiled programs lie (default ~/.cache/curriculum_rec); null for none
  score_cache=DIR         where what teachers said lies (default ~/.cache/curriculum_rec/scores); null for none
  trusted_packages=[]     your own packages that _target_ may name

examples:
  curriculum-rec tune space=ml100k -- data.path=ml-100k/u.data
  curriculum-rec tune space=my_space.yaml study_dir=runs/tune/mine n_trials=100 jobs=2
"""

DATA = """\
usage: curriculum-rec data list
       curriculum-rec data prepare NAME | data=table data.path=FILE|FOLDER store=DIR
       curriculum-rec data describe NAME | data=SOURCE [data.OPTION=VALUE ...]

  list        the data sets that have a name: size, licence, and whether they are here
  prepare     download a data set, or take a copy, and keep it as Parquet with digests; with store=DIR make a store of
              files that need not fit into memory, for data=store
  describe    print and draw what a person checks first of any data

NAME is short for data=NAME; whatever 'curriculum-rec train' reads can be described. Data sets are kept in the folder
that the environment variable CURRICULUM_REC_DATA names (default ~/.cache/curriculum_rec/data). See docs/data_sets.md.

  curriculum-rec data ACTION --help   explains an action's options
"""

DATA_LIST = """\
usage: curriculum-rec data list

Lists the data sets that have a name: users, items and interactions as published, the size of the download, whether it
is here (in the package, prepared, prepared from a copy, downloaded, begun, absent), and the licence. It has no options.
"""

DATA_PREPARE = """\
usage: curriculum-rec data prepare NAME [data.path=COPY]
       curriculum-rec data prepare data=table data.path=FILE|FOLDER|PATTERN store=DIR [OPTION=VALUE ...]

Has a named data set ready: says its licence and what to cite, downloads it from its official address, checks its
SHA-256, unpacks it and writes interactions, users and items as Parquet, with their digests. A download that was
interrupted goes on where it stopped. Whoever trains on data=NAME does the same, if it has not been done.

With store=DIR it makes a store: cleaned, split and sorted interactions as Arrow files that training maps into memory
and reads as batches need them. Rows are read some at a time and cleaned part by part, so that the data need not fit
into memory; ids must. A preparation that was ended goes on when the same command is given again. The store holds what
the same data in memory is: the same codes, the same split and its hash, the same batches. See docs/data_at_scale.md.
Needs the extra "store".

options:
  data.path=COPY          a copy of the published files instead of a download: the archive, a folder, or the file of
                          interactions; its digest is not checked, and 'data list' says that it was a copy
  trusted_packages=[]     your own packages that _target_ may name

options of a store:
  store=DIR               the folder that is made
  data=table              data.path= a CSV, TSV or Parquet file, a folder of Parquet files, or a pattern
  cleaning.RULE.OPTION=   as for train; rules that look at a row, at a user's rows, or count (k_core)
  split=leave_one_out     last_n, ratio: as for train, those that go user by user
  memory_gib=2            about how much memory the rows may take at once, ids not counted
  engine=here             ray: parts are read and cleaned by the workers of Ray Data, on a disk that all share; needs
                          the extra "ray_data"
  ray_address=ADDRESS     the cluster; by default one on this machine
  workers=2               parts that Ray works on at once

examples:
  curriculum-rec data prepare movielens_1m
  CURRICULUM_REC_DATA=/big/disk curriculum-rec data prepare movielens_25m
  curriculum-rec data prepare data=table data.path=ratings.csv data.user=userId data.item=movieId store=ml.store
  curriculum-rec train data=store data.path=ml.store placement.examples=host
"""

DATA_DESCRIBE = """\
usage: curriculum-rec data describe NAME | data=SOURCE [data.OPTION=VALUE ...] [cleaning.RULE.OPTION=VALUE ...]

Prints and draws what a person checks first, of the rows as read and of what cleaning leaves: counts, density, history
lengths, popularity, concentration, time from first to last, interactions over time, repeats, ties in time, duplicates,
missing values; then every further column, and the tables of users and items.

options:
  output=data.html        a page that needs nothing else; or a picture: .svg, .png, .pdf; null draws nothing
  trusted_packages=[]     your own packages that _target_ may name

examples:
  curriculum-rec data describe online_retail output=online_retail.html
  curriculum-rec data describe movielens_100k data.path=ml-100k.zip
  curriculum-rec data describe data=table data.path=log.csv data.user=customer data.item=sku data.timestamp=time
"""

COMMANDS = {
    "train": TRAIN,
    "resume": RESUME,
    "evaluate": EVALUATE,
    "recommend": RECOMMEND,
    "score": SCORE,
    "compress": COMPRESS,
    "inspect": INSPECT,
    "audit": AUDIT,
    "list": LIST,
    "show": SHOW,
    "compare": COMPARE,
    "track": TRACK,
    "completion": COMPLETION,
    "replay": REPLAY,
    "prequential": PREQUENTIAL,
    "study": STUDY,
    "report": REPORT,
    "tune": TUNE,
    "data": DATA,
}
ACTIONS = {"data": {"list": DATA_LIST, "prepare": DATA_PREPARE, "describe": DATA_DESCRIBE}}
"""Commands that are followed by what is to be done."""
