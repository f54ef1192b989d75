//! Every knob of a run: type, default, documentation. Nothing else in Tandem holds a default of these.

use super::choice::choices;
use super::section::sections;
use super::source::{Locations, Source};

choices! {
    /// Where tensors live.
    Device { Cpu = "cpu", Cuda = "cuda" }
    /// The dtype of matrix products; weights, optimizer and losses stay in f32.
    Precision { F32 = "f32", Bf16 = "bf16" }
    /// Which behaviour a step has: a set of defaults for the knobs below it.
    Semantics { Global = "global", Paper = "paper" }
    /// How far something reaches.
    Reach { Global = "global", Local = "local" }
    /// What pairs with the same caption or image are to each other in the contrastive loss.
    Duplicates { Masked = "masked", Positives = "positives", Negatives = "negatives" }
    /// How the learning rate follows the steps.
    Schedule { Step = "step", Epoch = "epoch" }
    /// What follows when a step's loss or gradient is not finite, or its loss jumps.
    OnAnomaly { Stop = "stop", Skip = "skip", Rollback = "rollback" }
    /// What the queue holds before the first step.
    QueueStart { Empty = "empty", Random = "random" }
}

sections! {
    /// The run as a whole.
    run: RunSection {
        /// The run's name, in logs, metrics and pages.
        name: String = "run".into(),
        /// Folder or URL (file, s3, gs, az) that receives checkpoints, metrics and logs.
        output: String = "runs/run".into(),
        /// Seed of everything random: order, augmentation, masks, negatives, dropout, initial weights.
        seed: u64 = 0,
        /// Workers that the run should have: the first generation waits for them, and spares fill up to them.
        workers: u32 = 1,
        /// Fewest workers with which the run goes on when others are lost; 0 means 1, or run.workers where a knob of objective reaches only each worker's local batch.
        min_workers: u32 = 0,
        /// Most workers that take part when more join; 0 means run.workers.
        max_workers: u32 = 0,
        /// Where tensors live: cpu or cuda. A run that asks for cuda never falls back to cpu.
        device: Device = Device::Cpu,
        /// Threads of each worker's tensor kernels; 0 divides the host's cores by its workers.
        threads: u32 = 0,
    }
    /// The dataset and how it is read.
    data: DataSection {
        /// Folder, file, glob or URL of the training set's parquet files, or a list of them; an index made by `tandem data index` is used where there is one.
        train: Locations = Locations::default(),
        /// Instead of data.train, several sources: `[[data.source]]` with location, weight, and optionally image_column, caption_column and filter. With weights, slots are shared out exactly by weight, and each source has its own epochs; without, all are one dataset.
        source: Vec<Source> = Vec::new(),
        /// An index of the training set made by `tandem data index --out`; empty takes those beside the files, where there are some.
        index: String = String::new(),
        /// Column with the encoded image, binary or `struct<bytes, path>`; empty finds jpg, png, webp, image and the like, or the only one there is.
        image_column: String = String::new(),
        /// Column with the caption, a string or a list of strings, of which each epoch takes one; empty finds caption, text and the like.
        caption_column: String = String::new(),
        /// Conditions that a row has to meet, such as `similarity >= 0.3` or `status == 'success'` (the default where img2dataset's status column is there).
        filter: Vec<String> = Vec::new(),
        /// Fixed streams of rows that fill the global batch; part of the run, unlike the number of workers, which it bounds.
        lanes: u32 = 8,
        /// Row groups that are shuffled together inside a lane; more mixes better and holds more in memory.
        window: u32 = 8,
        /// Batches that are decoded ahead of the step.
        prefetch: u32 = 4,
        /// Threads that decode, per worker; 0 takes the tensor threads' number.
        decode_threads: u32 = 0,
        /// Largest image that is decoded, in pixels.
        max_pixels: u64 = 64_000_000,
        /// Longest image file that is decoded, in bytes.
        max_bytes: u64 = 64 << 20,
        /// Share of rows that may be replaced because they can't be decoded; beyond it (and 10 rows) the run fails.
        substitution_budget: f64 = 0.01,
    }
    /// Object stores (s3, gs, az, http): how datasets are fetched from them. A local disk uses none of it.
    store: StoreSection {
        /// Times that a request which failed on the way (no connection, a timeout, 429, 5xx, a body that is cut off) is made again before that is fatal.
        retries: u32 = 10,
        /// Seconds after which a failing request is not made again, however often it was.
        retry_seconds: f64 = 180.0,
        /// Seconds that one request may take, with its whole body, of at most 8 MiB; a larger one that is written gets another second per MiB.
        timeout: f64 = 30.0,
        /// Seconds that connecting may take.
        connect_timeout: f64 = 5.0,
        /// Requests that a process has open at the same time.
        requests: u32 = 32,
        /// Ranges of a file that lie at most this many KiB apart are fetched in one request.
        gap_kib: u32 = 1_024,
        /// Folder on a local disk that keeps what was fetched, for all processes of the machine and for later runs; empty keeps nothing.
        cache: String = String::new(),
        /// Most that the folder holds, in GiB; what was not used for longest goes first.
        cache_gib: f64 = 64.0,
    }
    /// Captions to tokens.
    text: TextSection {
        /// A BERT vocab.txt or a tokenizer.json, as a path or URL.
        tokenizer: String = String::new(),
        /// Tokens per caption, with `[CLS]` and `[SEP]`; longer captions are cut.
        max_tokens: u32 = 30,
    }
    /// Random changes of the training images, after ALBEF's pre-training transform.
    augment: AugmentSection {
        /// Smallest share of the image's area that a random crop keeps; 1 turns cropping off.
        min_crop: f64 = 0.2,
        /// Probability of a horizontal flip.
        flip: f64 = 0.5,
        /// RandAugment: operations per image; 0 turns it off.
        operations: u32 = 2,
        /// RandAugment: strength of each operation, 0 to 10.
        magnitude: u32 = 7,
        /// RandAugment: the operations that are drawn from.
        choose_from: Vec<String> = [
            "identity", "auto_contrast", "equalize", "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y", "rotate",
        ].map(String::from).to_vec(),
        /// Probability of turning the image grey.
        grey: f64 = 0.0,
        /// Strength of random brightness, contrast, saturation and channel gain, 0 to 1; 0 turns it off.
        color: f64 = 0.0,
        /// Mean of the channels R, G, B in 0..1, subtracted.
        mean: [f64; 3] = [0.48145466, 0.4578275, 0.40821073],
        /// Standard deviation of the channels R, G, B in 0..1, divided by.
        std: [f64; 3] = [0.26862954, 0.26130258, 0.27577711],
    }
    /// The network's sizes. A preset sets all of them; a size that is given wins over the preset.
    model: ModelSection {
        /// albef-base (the published sizes), albef-small or albef-tiny.
        preset: String = "albef-base".into(),
        /// Side of the square input image, in pixels.
        image_size: u32 = 256,
        /// Side of a patch, in pixels; divides image_size.
        patch_size: u32 = 16,
        /// Width of the image encoder.
        vision_width: u32 = 768,
        /// Blocks of the image encoder.
        vision_depth: u32 = 12,
        /// Attention heads of the image encoder.
        vision_heads: u32 = 12,
        /// Width of the hidden layer of the image encoder's MLP.
        vision_hidden: u32 = 3072,
        /// Width of the text and fusion layers.
        text_width: u32 = 768,
        /// Layers of the text encoder.
        text_depth: u32 = 6,
        /// Layers of the fusion encoder, which follow the text layers.
        fusion_depth: u32 = 6,
        /// Attention heads of the text and fusion layers.
        text_heads: u32 = 12,
        /// Width of the hidden layer of the text and fusion layers' MLP.
        text_hidden: u32 = 3072,
        /// Entries of the vocabulary; has to equal the tokenizer's.
        vocabulary: u32 = 30_522,
        /// Rows of the text position table; at least text.max_tokens.
        positions: u32 = 512,
        /// Width of the shared space of images and texts.
        embed_width: u32 = 256,
        /// Dropout probability of the text and fusion layers.
        dropout: f64 = 0.1,
        /// Standard deviation of the first weights; published: 0.02.
        init_std: f64 = 0.02,
        /// File with the weights of a whole ALBEF that the run begins with: safetensors or torch.save's, path or URL; empty draws them. See `tandem export`.
        init: String = String::new(),
        /// File or folder with an image encoder to begin with: DeiT or another ViT of timm, or Hugging Face's ViT.
        init_image: String = String::new(),
        /// File or folder with a BERT of Hugging Face to begin with: its first layers become the text encoder, the next the fusion layers.
        init_text: String = String::new(),
        /// Keys of those files that may be missing (drawn), unexpected (left out) or misshaped (drawn), with `*` for anything; all others are refused.
        init_allow: Vec<String> = Vec::new(),
    }
    /// ALBEF's losses.
    objective: ObjectiveSection {
        /// A set of defaults: global, where the number of workers changes nothing, or paper, where the published code's behaviour is kept; a knob that is given wins.
        semantics: Semantics = Semantics::Global,
        /// Contrastive keys beside the queue: the global batch, or each worker's local batch (paper).
        keys: Reach = Reach::Global,
        /// Where hard negatives for matching are drawn from: the global batch, or each worker's local batch (paper).
        negatives: Reach = Reach::Global,
        /// What losses are averaged over: the global batch, or each worker's local batch and then the workers (paper).
        means: Reach = Reach::Global,
        /// What pairs with the same caption or image are to each other in the contrastive loss: masked out, extra positives, or negatives like all others (paper).
        duplicates: Duplicates = Duplicates::Masked,
        /// Whether pairs with the same caption or image may be drawn as each other's negatives for matching (paper: true).
        draw_duplicates: bool = false,
        /// Whether the teacher has dropout like the student (paper: true).
        teacher_dropout: bool = false,
        /// Whether a caption's end, `[SEP]`, may be masked (paper: true).
        mask_separator: bool = false,
        /// Capacity of the queue, in pairs; 0 means none.
        queue: u32 = 65_536,
        /// What the queue holds before the first step: empty, or random unit vectors (paper).
        queue_start: QueueStart = QueueStart::Empty,
        /// First value of the learned temperature.
        temperature: f64 = 0.07,
        /// The temperature is clamped to at least this.
        min_temperature: f64 = 0.001,
        /// The temperature is clamped to at most this.
        max_temperature: f64 = 0.5,
        /// Momentum of the teacher's moving average.
        momentum: f64 = 0.995,
        /// Weight of the teacher's soft targets after the ramp.
        alpha: f64 = 0.4,
        /// Steps over which alpha grows from 0; 0 means one epoch, as published.
        alpha_ramp: u64 = 0,
        /// Probability that a token is masked.
        mask_probability: f64 = 0.15,
        /// Similarities are made tile by tile, this many rows by this many keys, where a whole matrix would have more than a tile's elements.
        tile: u32 = 4_096,
    }
    /// AdamW and its schedule.
    optimizer: OptimizerSection {
        /// Pairs of one global step, over all workers; a multiple of data.lanes.
        batch: u32 = 512,
        /// Pairs that a worker takes through the encoders at once; fewer than its share of the batch saves memory and encodes twice, and changes no loss; 0 takes all.
        micro_batch: u32 = 0,
        /// Optimizer updates of the whole run.
        steps: u64 = 100_000,
        /// Learning rate after the warm-up.
        learning_rate: f64 = 1e-4,
        /// Learning rate at the end of the cosine.
        min_learning_rate: f64 = 1e-5,
        /// Steps of linear warm-up from warmup_learning_rate.
        warmup: u64 = 1_000,
        /// Learning rate of the first step of the warm-up.
        warmup_learning_rate: f64 = 1e-5,
        /// Learning rate by step, or by epoch as the published loop: in stairs of 100 steps while it warms up, and a cosine that falls once an epoch (paper).
        schedule: Schedule = Schedule::Step,
        /// Decoupled weight decay of all tensors but biases and one-dimensional ones.
        weight_decay: f64 = 0.02,
        /// Whether weight decay also pulls at temperature, class token and position embeddings (paper: true).
        decay_positions: bool = false,
        /// AdamW's first decay rate.
        beta1: f64 = 0.9,
        /// AdamW's second decay rate.
        beta2: f64 = 0.999,
        /// AdamW's epsilon, added after the square root.
        epsilon: f64 = 1e-8,
        /// Largest L2 norm of the whole gradient; 0 turns clipping off.
        clip_norm: f64 = 0.0,
        /// When a loss or gradient is not finite, or the loss jumps over spike_bound: stop the run, skip the update, or rollback: take up the newest committed checkpoint's state and train on after this step. The ledger records what was skipped.
        on_anomaly: OnAnomaly = OnAnomaly::Stop,
        /// A loss over this many times its moving average is an anomaly; 0 turns it off.
        spike_bound: f64 = 0.0,
        /// Anomalies in a row after which the run stops whatever on_anomaly says.
        anomalies: u32 = 10,
        /// The dtype of matrix products: f32 or bf16 (autocast).
        precision: Precision = Precision::F32,
        /// Size of a bucket of gradients that is reduced while backward goes on, in MiB.
        bucket_mib: u32 = 25,
    }
    /// Checkpoints.
    checkpoint: CheckpointSection {
        /// Steps between checkpoints; 0 writes one only at the end and on request.
        every: u64 = 1_000,
        /// Newest committed checkpoints that are kept.
        keep: u32 = 3,
        /// Older committed checkpoints are kept too until they are this many hours old.
        keep_hours: f64 = 0.0,
        /// Most MiB a second that a worker writes of its part; 0 sets no limit.
        upload_mib: f64 = 0.0,
        /// Checkpoints in a row that may fail to be written, with a warning, before the run ends.
        failures: u32 = 3,
    }
    /// Metrics.
    metrics: MetricsSection {
        /// Steps between two reported lines of metrics.
        every: u64 = 10,
    }
    /// Coordinator, workers and the group that they form.
    cluster: ClusterSection {
        /// Address that the coordinator listens on; port 0 takes a free one. One that other machines reach needs --credentials.
        listen: String = "127.0.0.1:0".into(),
        /// Host name or address, with or without a port, at which workers and operators reach the coordinator; empty: where it listens, and this machine's name where it listens on all addresses.
        advertise: String = String::new(),
        /// Milliseconds between a worker's heartbeats.
        heartbeat_ms: u32 = 500,
        /// Seconds without a heartbeat after which a worker counts as lost.
        lost_after: f64 = 20.0,
        /// Seconds that a run which lost workers waits for others in their place, before it goes on with fewer.
        grace: f64 = 0.0,
        /// Seconds that workers train on, or wait, without a coordinator before they give up.
        orphan_after: f64 = 600.0,
        /// Steps between two comparisons of the whole state, bit by bit, over all workers; 0 turns them off.
        compare_every: u64 = 500,
        /// Seconds that the workers of a new generation may take to connect to each other.
        meeting_timeout: f64 = 30.0,
        /// Seconds after which a collective that does not end is an error.
        collective_timeout: f64 = 300.0,
    }
}
