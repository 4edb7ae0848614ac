// SPDX-License-Identifier: Apache-2.0
// The C API from C++17: owners instead of destroy calls, exceptions instead of statuses.
//
//     personalise NETWORK.onnx PROFILE.safetensors
//
// The network takes one grey channel. Pictures are drawn here: stripes, one width a class.
#include <exeunt/exeunt.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>

constexpr std::size_t side = 28, classes = 4, pictures = 80;

template <typename T, void (*destroy)(T *)> struct Destroyer {
    void operator()(T *object) const { destroy(object); }
};
template <typename T, void (*destroy)(T *)> using Owner = std::unique_ptr<T, Destroyer<T, destroy>>;
using Context = Owner<exn_context, exn_context_destroy>;
using Model = Owner<exn_model, exn_model_destroy>;
using Profile = Owner<exn_profile, exn_profile_destroy>;
using Trainer = Owner<exn_trainer, exn_trainer_destroy>;
using Runner = Owner<exn_runner, exn_runner_destroy>;

static void must(exn_status status, const char *message) {
    if (status != EXN_OK) throw std::runtime_error(message);
}

template <typename Options> Options options() {
    Options made{};
    made.struct_size = sizeof made;
    return made;
}

// No two alike: brightness, slant, place and grain follow from the number.
static exn_image draw(std::vector<std::uint8_t> &pixels, std::size_t which) {
    const std::size_t width = 2 + 2 * (which % classes), shift = which * 7 % 13, slant = which / classes % 3;
    std::uint32_t noise = std::uint32_t(which) + 1;
    pixels.resize(side * side);
    for (std::size_t i = 0; i < pixels.size(); i++) {
        noise = noise * 1664525 + 1013904223;
        const std::size_t at = i % side + i / side * slant / 2 + shift;
        pixels[i] = std::uint8_t((at / width % 2 ? 120 + 9 * (which % 11) : 20) + (noise >> 26));
    }
    return {pixels.data(), side, side, 1, 0};
}

static int run(const char *network_path, const char *profile_path) {
    std::vector<std::uint8_t> pixels;
    exn_context *raw_context;
    must(exn_context_create(&raw_context, nullptr), "no context");
    const Context context(raw_context);
    const auto check = [&](exn_status status) { must(status, exn_context_error(context.get())); };

    exn_model *raw_model;
    check(exn_model_open(&raw_model, context.get(), network_path, nullptr));
    const Model model(raw_model);

    auto wish = options<exn_profile_options>();
    wish.exits = 2;
    wish.preprocess.order = EXN_ORDER_GRAY;
    exn_profile *raw_profile;
    check(exn_profile_create(&raw_profile, model.get(), &wish));
    const Profile profile(raw_profile);

    exn_trainer *raw_trainer;
    check(exn_trainer_create(&raw_trainer, profile.get(), nullptr));
    Trainer trainer(raw_trainer);
    for (std::size_t i = 0; i < pictures; i++) {
        const exn_image picture = draw(pixels, i);
        check(exn_trainer_add(trainer.get(), &picture, std::int64_t(i % classes)));
    }
    check(exn_trainer_run(trainer.get(), [](void *, const exn_progress *) { return true; }, nullptr));
    trainer.reset();
    check(exn_profile_save(profile.get(), profile_path));

    exn_runner *raw_runner;
    check(exn_runner_create(&raw_runner, profile.get(), nullptr));
    const Runner runner(raw_runner);
    int wrong = 0;
    for (std::size_t i = pictures; i < pictures + classes; i++) { // not seen before
        const exn_image picture = draw(pixels, i);
        auto answer = options<exn_answer>();
        must(exn_runner_classify(runner.get(), &picture, &answer), exn_runner_error(runner.get()));
        if (answer.label != i % classes) wrong++;
        std::printf("picture %zu: class %zu, confidence %.3f, left at exit %zu\n", i, answer.label, double(answer.confidence),
                    answer.exit);
    }
    return wrong > 0;
}

int main(int argc, char **argv) {
    if (argc != 3) return std::fprintf(stderr, "usage: personalise NETWORK.onnx PROFILE.safetensors\n"), 2;
    try {
        return run(argv[1], argv[2]);
    } catch (const std::exception &error) {
        return std::fprintf(stderr, "personalise: %s\n", error.what()), 1;
    }
}
