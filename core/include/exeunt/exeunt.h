/* SPDX-License-Identifier: Apache-2.0
 *
 * Exeunt: personalised early exits for pretrained CNNs.
 *
 * Read from top to bottom: context, image, model, profile, trainer, pretrainer, runner. The whole way of the data:
 *
 *     exn_context_create(&ctx, NULL);                        NULL: defaults, everywhere
 *     exn_model_open(&net, ctx, "network.onnx", NULL);       weights stay in the mapped file until packed
 *     exn_profile_open(&me, net, "me.safetensors", NULL);    or exn_profile_create: fresh exits
 *     exn_trainer_create(&lesson, me, NULL);
 *     exn_trainer_add(lesson, &photo, label);                EXN_UNLABELLED is a label too
 *     exn_trainer_run(lesson, on_progress, user);            may pause at any sample and go on later
 *     exn_profile_save(me, "me.safetensors");                the old one, or the new one, never half
 *     exn_runner_create(&run, me, NULL);                     plan cut at the deepest exit needed
 *     exn_runner_classify(run, &photo, &answer);             .label .confidence .exit .infer_ms
 *
 * Conventions. Out-parameters come first and are untouched on failure. Every function that can fail returns
 * exn_status; the message is in the context (exn_context_error), for a runner in the runner. Options and
 * results carry struct_size first: set it to sizeof(the struct); zero in any other field means its default.
 * Models and profiles are immutable while a runner or trainer made from them lives, and may be shared between
 * threads; a runner or trainer belongs to one thread at a time. Every *_destroy(NULL) is legal. The library never
 * aborts, exits or prints.
 */
#ifndef EXEUNT_EXEUNT_H
#define EXEUNT_EXEUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define EXN_API
#else
#define EXN_API __attribute__((visibility("default")))
#endif

#define EXN_VERSION_MAJOR 0
#define EXN_VERSION_MINOR 1
#define EXN_VERSION_PATCH 0

/* "major.minor.patch" of the library that runs, which may be newer than the header. Static storage. */
EXN_API const char *exn_version(void);

/* ---- Status. The values are pinned. ---- */
typedef enum exn_status {
    EXN_PAUSED = 1, /* not a failure: the progress callback asked to stop; call again to go on */
    EXN_OK = 0,
    EXN_E_INVALID = -1,     /* an argument breaks its documented contract */
    EXN_E_UNSUPPORTED = -2, /* understood, and not implemented: operator, type, kernel set */
    EXN_E_NOMEM = -3,       /* the allocator or a stated memory budget said no */
    EXN_E_FORMAT = -4,      /* bytes of a file are not what they claim to be */
    EXN_E_IO = -5,          /* the operating system said no */
    EXN_E_SHAPE = -6,       /* shapes do not fit each other */
    EXN_E_BUSY = -7         /* another writer holds the profile */
} exn_status;

/* Short English name of a status, "unknown status" for other values. Static storage. */
EXN_API const char *exn_status_name(exn_status status);

/* ---- Context: allocator, log, kernel set, threads. ---- */
typedef struct exn_context exn_context;

typedef struct exn_allocator {
    void *(*allocate)(void *user, size_t bytes, size_t alignment); /* NULL on failure; alignment a power of two */
    void (*release)(void *user, void *block);                      /* block may be NULL */
    void *user;
} exn_allocator;

typedef enum exn_log_level { EXN_LOG_WARNING = 0, EXN_LOG_INFO = 1 } exn_log_level;
typedef void exn_log_fn(void *user, exn_log_level level, const char *message);

typedef struct exn_context_options {
    size_t struct_size;
    exn_allocator allocator; /* all zero: the C library's */
    exn_log_fn *log;         /* NULL: silent */
    void *log_user;
    const char *cpu; /* best kernel set allowed: "avx2" ...; NULL: the variable EXN_CPU, else the best found */
    size_t threads;  /* 0: 1 */
    /* Limits, for files may come from strangers; SECURITY.md lists those that cannot be changed. 0: the default.
     * The most that is asked of the allocator at once, for a small file can describe a huge network; beyond it EXN_E_NOMEM.
     * Default: EXN_BLOCK_LIMIT_BYTES. */
    size_t block_limit_bytes;
    size_t
        file_limit_bytes; /* the largest network, weights beside it, profile; beyond it EXN_E_FORMAT. Default: none */
    size_t
        node_limit; /* operators of a network, as the file has them and once formulas are taken apart; its other lists are in
                       proportion. Default: 2^16; the most: 2^24 */
    size_t element_limit; /* elements of one tensor; beyond it EXN_E_SHAPE. Default, and the most: 2^31 */
} exn_context_options;

#define EXN_BLOCK_LIMIT_BYTES ((size_t)1 << (sizeof(size_t) > 4 ? 34 : 30)) /* 16 GiB, or 1 */

/* The kernel set is looked up when a model is opened: naming one that this machine lacks fails there. */
EXN_API exn_status exn_context_create(exn_context **out, const exn_context_options *options);
/* Everything made from the context must be destroyed before. */
EXN_API void exn_context_destroy(exn_context *ctx);
/* Message of the last failure reported to this context, "" if none. Valid until the next failure. */
EXN_API const char *exn_context_error(const exn_context *ctx);

/* ---- Image: 8-bit pixels, rows from the top, channels interleaved. Borrowed, never kept. ---- */
typedef struct exn_image {
    const uint8_t *pixels;
    size_t width, height; /* pixels, >= 1 */
    size_t channels;      /* 1 (grey) or 3 (RGB) */
    size_t row_bytes;     /* distance of rows; 0: width * channels */
} exn_image;

/* ---- Model: a pretrained CNN, read from ONNX. ---- */
typedef struct exn_model exn_model;

typedef struct exn_model_options {
    size_t struct_size;
    size_t height, width; /* input size where the file leaves it open; 0: as in the file, else 224 */
} exn_model_options;

typedef struct exn_model_info {
    size_t struct_size;
    size_t channels, height, width; /* of the input at batch 1 */
    size_t classes;                 /* logits per sample */
    size_t nodes;                   /* operators after folding */
    uint64_t macs;                  /* multiply-adds at batch 1 */
    uint64_t parameters;
    size_t taps; /* candidate exits found */
} exn_model_info;

/* Maps and checks an ONNX file. The message names the node and operator that could not be imported. */
EXN_API exn_status exn_model_open(exn_model **out, exn_context *ctx, const char *path,
                                  const exn_model_options *options);
EXN_API void exn_model_destroy(exn_model *model);
EXN_API exn_status exn_model_get_info(exn_model_info *out, const exn_model *model);

/* ---- Profile: exits, their weights and the policy of one person, on top of one model. ---- */
typedef struct exn_profile exn_profile;

typedef enum exn_head_kind {
    EXN_HEAD_AUTO = 0,
    EXN_HEAD_LINEAR = 1,     /* global average pool, FC */
    EXN_HEAD_POOLED = 2,     /* adaptive 4x4 average pool, FC */
    EXN_HEAD_CONV = 3,       /* depthwise 3x3, 1x1 to 64 channels, BatchNorm, ReLU, 4x4 pool, FC */
    EXN_HEAD_CLASSIFIER = 4, /* the network's own classifier: always the last exit */
    EXN_HEAD_CONV2 = 5,      /* two convolutions as conv has one, to 128 and 256 channels, 3x3 pool, FC */
    EXN_HEAD_WIDE = 6        /* as conv, to 96 channels */
} exn_head_kind;

typedef enum exn_channel_order { EXN_ORDER_RGB = 0, EXN_ORDER_BGR = 1, EXN_ORDER_GRAY = 2 } exn_channel_order;

/* From 8-bit pixels to the network's input: resize the shorter side, crop the centre, (pixel - mean) / deviation. */
typedef struct exn_preprocess {
    size_t size; /* shorter side after resizing, before cropping; 0: the larger side of the network's input */
    float mean[3],
        deviation[3]; /* per channel in the order fed; unit: grey levels 0..255; deviation 0: mean 0, dev 255 */
    exn_channel_order order;
} exn_preprocess;

typedef struct exn_profile_options {
    size_t struct_size;
    size_t exits;            /* early exits wanted, without the last; 0: 4 */
    const char *const *taps; /* names of values to attach exits at, instead of automatic placement */
    size_t tap_count;
    exn_head_kind head;
    const char *const *classes; /* class names in the order of the logits; NULL: "0", "1", ... */
    size_t class_count;
    exn_preprocess preprocess;
    uint64_t seed; /* 0: 1. Everything random follows from it */
    bool
        measured; /* places exits by milliseconds measured on this device; false: by multiply-adds, the same everywhere */
} exn_profile_options;

typedef struct exn_exit_info {
    size_t struct_size;
    const char *tap; /* name of the value it reads; owned by the profile */
    exn_head_kind kind;
    double
        macs_fraction; /* multiply-adds up to and including this exit's head, earlier heads included, over the untouched network's */
    double cost_ms;               /* cumulative cost on this device from the profile's cost table, 0 if not measured */
    float temperature, threshold; /* leaves where max softmax(logits / temperature) >= threshold */
    bool enabled, trained;
    double accuracy; /* out-of-fold on personal labelled samples, or agreement with the teacher; NaN: unknown */
} exn_exit_info;

/* Fresh exits on a model; they are disabled until trained, so a fresh profile behaves like the untouched network. */
EXN_API exn_status exn_profile_create(exn_profile **out, const exn_model *model, const exn_profile_options *options);
/* Reads a profile and checks that it was made for this model: size of its file, hash of everything but the large weights.
 * options: reserved, NULL. */
EXN_API exn_status exn_profile_open(exn_profile **out, const exn_model *model, const char *path, const void *options);
/* Compares the hash of all weights with the one taken when the profile was made; reads the whole network. */
EXN_API exn_status exn_profile_verify(const exn_profile *profile);
/* Path of the network that a profile names, resolved against the profile's folder, into `out` (NUL-terminated). */
EXN_API exn_status exn_profile_model_path(char *out, size_t out_bytes, exn_context *ctx, const char *path);
/* Appends classes that the network does not know: no exit answers with them before it is trained on samples of theirs.
 * Names as in exn_profile_options, and unlike those there are. */
EXN_API exn_status exn_profile_add_classes(exn_profile *profile, const char *const *names, size_t count);
/* Replaces the file atomically; a second writer gets EXN_E_BUSY. */
EXN_API exn_status exn_profile_save(const exn_profile *profile, const char *path);
/* Heads that something else trained, from a safetensors file whose tensors are named as a profile's own: "exits.0.fc.weight" and so on
 * for the head in use, "general.0.fc.weight" for the one that personalising starts from. A head comes whole; "norm.mean" and
 * "norm.inv_std" may be absent. The file's metadata may say more, as text: "exits.0.tap" (which must be the profile's), "exits.0.kind"
 * (another head_kind than the profile's), "exits.0.temperature" (default 1), "exits.0.threshold"; tap, kind and temperature for
 * "general.0", too. Shapes, numbers and taps are checked, and a failure changes nothing. Heads equal to the profile's do not count, so
 * that a whole profile may come back with one head changed. An imported head in use has no evidence: what was decided is dropped, early
 * exits are not used until the profile is personalised, but for those whose threshold the file states. options: reserved, NULL. */
EXN_API exn_status exn_profile_import(exn_profile *profile, const char *path, const void *options);
EXN_API void exn_profile_destroy(exn_profile *profile);
EXN_API size_t exn_profile_exit_count(const exn_profile *profile); /* with the last */
EXN_API exn_status exn_profile_get_exit(exn_exit_info *out, const exn_profile *profile, size_t exit);
EXN_API size_t exn_profile_class_count(const exn_profile *profile);
EXN_API const char *exn_profile_class_name(const exn_profile *profile, size_t label); /* NULL beyond the last */
EXN_API size_t exn_profile_deepest_exit(const exn_profile *profile);                  /* the plan ends there */

/* What personalising a profile shall achieve. All are decided at once, so that a runner may choose another one later. */
typedef enum exn_target {
    EXN_TARGET_PROFILE = 0, /* a runner: what the profile was made for; a trainer: the profile's, at first KEEP */
    EXN_TARGET_KEEP = 1,    /* leaving early may cost under a point, and 15 % of what was gained, four points at most */
    EXN_TARGET_UNTOUCHED = 2 /* as fast as it can be while it is about as right as the untouched network */
} exn_target;
EXN_API exn_target exn_profile_get_target(const exn_profile *profile);
/* Turns to the exits and thresholds of another target; EXN_E_INVALID where personalising decided nothing for it. */
EXN_API exn_status exn_profile_set_target(exn_profile *profile, exn_target target);

/* ---- Trainer: personalises a profile's exits; the backbone stays frozen. ---- */
typedef struct exn_trainer exn_trainer;
#define EXN_UNLABELLED (-1)

typedef struct exn_trainer_options {
    size_t struct_size;
    double time_budget_s; /* 0: none. Honoured within one step; the best heads so far are kept */
    /* 0: none. As many samples of every class as fit, or EXN_E_NOMEM saying how much is needed. */
    size_t memory_budget_bytes;
    const char *cache_path; /* feature cache on disk, reused if it fits; NULL: in memory */
    const char *costs;      /* cost table: NULL measures, "macs", or the path of a JSON file */
    uint64_t seed;          /* 0: the profile's */
    exn_target target;
    /* Where training stands, kept on disk every second: the same samples go on from there, to the same bits, after a kill. The
     * caller deletes it (and .0 and .1 beside it). NULL: not kept. */
    const char *progress_path;
    size_t cache_limit_bytes; /* 0: none. Of several samples too many, those of the largest class go first */
    bool cache_half;          /* features in half precision: half the cache, about 3 digits */
} exn_trainer_options;

typedef struct exn_trainer_estimate {
    size_t struct_size;
    size_t peak_bytes; /* arena of extraction or training, whichever is larger, with caches in memory */
    size_t cache_bytes;
    uint64_t macs; /* extraction and training together */
} exn_trainer_estimate;

typedef enum exn_phase { EXN_PHASE_EXTRACT = 0, EXN_PHASE_TRAIN = 1, EXN_PHASE_JUDGE = 2 } exn_phase;
typedef struct exn_progress {
    exn_phase phase;
    size_t done, total; /* samples while extracting, steps while training */
    double elapsed_s;
} exn_progress;
/* Return false to pause at this sample or step: exn_trainer_run returns EXN_PAUSED, and goes on when called again. */
typedef bool exn_progress_fn(void *user, const exn_progress *progress);

EXN_API exn_status exn_trainer_create(exn_trainer **out, exn_profile *profile, const exn_trainer_options *options);
/* label: 0 .. classes-1, or EXN_UNLABELLED. The image passes the frozen backbone now, once; nothing of it is kept
 * but features. The result does not depend on the order of the calls. */
EXN_API exn_status exn_trainer_add(exn_trainer *trainer, const exn_image *image, int64_t label);
/* The same for an input that is ready for the network: float32 (channels, height, width), finite. */
EXN_API exn_status exn_trainer_add_tensor(exn_trainer *trainer, const float *chw, int64_t label);
/* What running with this many samples will take. */
EXN_API exn_status exn_trainer_get_estimate(exn_trainer_estimate *out, const exn_trainer *trainer, size_t labelled,
                                            size_t unlabelled);
/* Trains, judges and decides; changes the profile only when it returns EXN_OK. */
EXN_API exn_status exn_trainer_run(exn_trainer *trainer, exn_progress_fn *progress, void *user);
EXN_API void exn_trainer_destroy(exn_trainer *trainer);

/* ---- Pretrainer: teaches a profile's exits general data, before anybody's own photos. The result ships with a network:
 * personal training starts from it. The backbone stays frozen; the exits learn from labels and from the network's own
 * classifier (distillation). ---- */
typedef struct exn_pretrainer exn_pretrainer;
#define EXN_UNGROUPED SIZE_MAX

typedef struct exn_pretrainer_options {
    size_t struct_size;
    double time_budget_s; /* 0: none. Of training, honoured within one step; what is not trained by then stays fresh */
    const char *cache_path;    /* feature cache on disk, reused if it fits; NULL: in memory */
    uint64_t seed;             /* 0: the profile's */
    bool refit;                /* also fit the network's own classifier anew, on the frozen features */
    size_t epochs;             /* 0: 40. Rounds through the samples, each time over other views of them */
    size_t views;              /* of each sample, 1 .. 16; 0: 4. Itself and augmented ones; the cache holds all */
    bool choose_heads;         /* early heads are conv ones: try conv, wide and conv2 and keep what is worth its cost */
    bool prune;                /* drop early exits that are no better than an earlier one */
    const char *costs;         /* for choose_heads, as in exn_trainer_options: NULL measures, "macs", or a JSON file */
    const char *progress_path; /* as in exn_trainer_options */
} exn_pretrainer_options;

EXN_API exn_status exn_pretrainer_create(exn_pretrainer **out, exn_profile *profile,
                                         const exn_pretrainer_options *options);
/* The image passes the frozen backbone now, and so do further views of it: cropped, mirrored, lit at random, as its content
 * and the seed say. label: 0 .. classes-1. group: samples of one group (a person, say) are judged only by exits that saw none of
 * it; EXN_UNGROUPED for all: near twins are found and kept together. The result does not depend on the order of the calls. */
EXN_API exn_status exn_pretrainer_add(exn_pretrainer *pretrainer, const exn_image *image, int64_t label, size_t group);
/* The same for an input that is ready for the network, which gets no further views: float32 (channels, height, width), finite. */
EXN_API exn_status exn_pretrainer_add_tensor(exn_pretrainer *pretrainer, const float *chw, int64_t label, size_t group);
/* Bytes that the feature cache will hold for so many images. */
EXN_API size_t exn_pretrainer_cache_bytes(const exn_pretrainer *pretrainer, size_t images);
/* Trains every exit on all samples, then again fold by fold for figures and temperatures that no exit knew the samples of.
 * Changes the profile only when it returns EXN_OK; exits stay disabled, and what a person's photos decided before is
 * dropped. EXN_PAUSED: call again to go on. It runs once. */
EXN_API exn_status exn_pretrainer_run(exn_pretrainer *pretrainer, exn_progress_fn *progress, void *user);
EXN_API void exn_pretrainer_destroy(exn_pretrainer *pretrainer);

/* ---- Export: a profile's network for any ONNX runtime (opset 17). ---- */
typedef enum exn_export_form {
    EXN_EXPORT_EXITS = 0, /* logits of every exit: outputs "exit_0" and so on, float32 (batch, classes) */
    EXN_EXPORT_CUT = 1,   /* one exit alone: output "logits"; nothing behind it is in the file */
    /* Leaves as a runner does, through `If`: outputs "scores" (1, classes), whose softmax is the confidence, and "exit", int64
     * without dimensions. */
    EXN_EXPORT_LEAVE = 2
} exn_export_form;

typedef struct exn_export_options {
    size_t struct_size;
    exn_export_form form;
    size_t exit;       /* EXN_EXPORT_CUT: which */
    exn_target target; /* EXN_EXPORT_LEAVE: whose exits and thresholds */
    size_t batch;      /* fixed in the file; 0: 1. EXN_EXPORT_LEAVE: 1 */
} exn_export_options;

/* Replaces the file atomically. Its input is the network's own, (batch, channels, height, width), preprocessed as the network wants it:
 * what the person's camera needs beyond that is part of the graph. Metadata: "exeunt.classes" and "exeunt.preprocess", JSON. */
EXN_API exn_status exn_profile_export(const exn_profile *profile, const char *path, const exn_export_options *options);

/* ---- Runner: classifies, and leaves at the first exit that is sure enough. After creation only the buffers for resizing
 * images grow, up to the largest image seen. ---- */
typedef struct exn_runner exn_runner;

typedef struct exn_runner_options {
    size_t struct_size;
    bool whole_network; /* ignore the exits: the untouched network */
    size_t threads;     /* 0: the context's */
    exn_target target;  /* EXN_E_INVALID where the profile has nothing for it */
    double audit_share; /* of the answers to compare with the last exit's, 0 to 1; 0: none. Without early exits: none */
    const char
        *packed; /* file that keeps packed weights between processes: mapped where it fits, made or replaced where it
                           does not (that it cannot be written is logged). NULL: none. One file for each profile */
    /* Inputs computed at once, whatever batch the file was written for (a network that works across samples is refused); 0: 1. Above 1
     * with an audit_share, also with whole_network: EXN_E_UNSUPPORTED. */
    size_t batch;
} exn_runner_options;

typedef struct exn_answer {
    size_t struct_size;
    size_t label;
    float confidence; /* probability of the label, calibrated, with what earlier exits said */
    size_t exit;      /* where the sample left */
    double infer_ms;  /* preprocessing excluded */
    bool audit_due;   /* exn_runner_audit would compare this answer */
} exn_answer;

EXN_API exn_status exn_runner_create(exn_runner **out, const exn_profile *profile, const exn_runner_options *options);
EXN_API exn_status exn_runner_classify(exn_runner *runner, const exn_image *image, exn_answer *answer);
/* `count` images, a batch at a time; of each batch every image leaves where it would alone, with the same bits. answers: as many, each
 * with its struct_size, all of them the same. infer_ms: the batch's time by its images. On failure the answers of the batches
 * before stand. */
EXN_API exn_status exn_runner_classify_batch(exn_runner *runner, const exn_image *images, size_t count,
                                             exn_answer *answers);
/* The same as exn_runner_classify for an input that is ready for the network: float32 (channels, height, width). */
EXN_API exn_status exn_runner_classify_tensor(exn_runner *runner, const float *chw, exn_answer *answer);

/* Audits. People and cameras change: a runner with an audit share compares a few of its answers with what the last exit says.
 * Answers that differ too often, for what personalising saw, make it step back, to the exits without an end, then to the untouched
 * network; answers that agree again make it step forward. train/README.md draws the states. */
typedef struct exn_watch {
    size_t struct_size;
    size_t rung;         /* 0: the untouched network; 1: exits, the last one behind them; 2: as the profile says */
    size_t deepest_exit; /* where the plan ends now */
    bool alert;          /* answers have been unsure: audits are dense for a while */
    uint64_t inputs, audits, differing, alerts, rollbacks, advances;
} exn_watch;
/* Compares the latest answer that is due; without one it does nothing. May allocate and take as long as the whole network: call
 * it when there is time. The weights behind an end are read for it, and let go again. `watch` may be NULL. On failure the
 * runner stays as it was. */
EXN_API exn_status exn_runner_audit(exn_runner *runner, exn_watch *watch);
/* What was observed, as a small JSON file (replaced atomically), so that another runner of the same profile and target goes on
 * from there; for another profile it begins anew. */
EXN_API exn_status exn_runner_save_watch(exn_runner *runner, const char *path);
EXN_API exn_status exn_runner_load_watch(exn_runner *runner, const char *path);

EXN_API const char *exn_runner_error(const exn_runner *runner);
EXN_API void exn_runner_destroy(exn_runner *runner);

#ifdef __cplusplus
}
#endif
#endif /* EXEUNT_EXEUNT_H */
