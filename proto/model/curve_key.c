#include "model/curve_key.h"

#include <string.h>

bool curve_key_form(const char *text)
{
    static const char z85[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

    return strlen(text) == CURVE_KEY_LEN && strspn(text, z85) == CURVE_KEY_LEN;
}

bool curve_key_is_published(const char *text)
{
    static const char *const published[] = {
        "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
        "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs",
        "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
        "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6",
    };

    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        if (strcmp(text, published[i]) == 0)
            return true;
    return false;
}
